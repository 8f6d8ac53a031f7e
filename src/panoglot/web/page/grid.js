// A justified grid of any number of pictures: one pass of typed arrays, rows in view alone, tiles used again and again.
import { make, root, styled, state, t, caption, thumb } from "/a/base.js";

const GAP = 10, CAPTION = 46, BITS = 7;
const COLOURS = { lexical: "pa", caption: "pb", picture: "pc" };

export class Grid {
  /** `source`: count, shape(n), item(n) or undefined while it is fetched, need(from, to); `open(n)`, `moved(n)`. */
  constructor(view, source, { open, moved, label }) {
    Object.assign(this, { view, source, open, moved, cursor: -1, rows: new Map(), free: [], virtual: 0, last: 0, fast: false, timer: 0 });
    this.box = make("div", { role: "grid", "aria-label": label, "aria-multiselectable": null });
    view.replaceChildren(this.box);
    view.addEventListener("scroll", () => this.frame(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("click", (event) => { const n = this.of(event.target); if (n >= 0) { this.focus(n, false); this.open(n); } });
    this.box.addEventListener("focusin", (event) => { const n = this.of(event.target); if (n >= 0 && n !== this.cursor) this.mark(n); });
    this.watch = new ResizeObserver(() => this.layout());
    this.watch.observe(view);
  }

  close() { this.watch.disconnect(); clearTimeout(this.timer); cancelAnimationFrame(this.asked); }

  of(target) { const cell = target.closest("[role=gridcell]"); return cell ? Number(cell.dataset.n) : -1; }

  /** Starts and tops of all rows; what was at the top stays there. */
  layout() {
    const { view, source } = this, width = view.clientWidth - parseFloat(getComputedStyle(view).paddingInlineStart) * 2;
    if (width < 40) return;
    const focused = this.box.contains(document.activeElement);
    const keep = this.starts ? this.starts[this.rowAt(this.virtual)] : 0;
    const tall = Math.min(340, Math.max(110, Math.sqrt(width * view.clientHeight) / 5.6));
    const count = source.count, starts = new Uint32Array(count + 1), tops = new Float64Array(count + 1);
    let rows = 0, top = 0;
    for (let n = 0; n < count;) {
      let sum = 0, from = n;
      while (n < count && (sum * tall + (n - from) * GAP < width)) sum += Math.min(3, Math.max(0.5, source.shape(n++)));
      const full = (width - (n - from - 1) * GAP) / sum;
      starts[rows] = from; tops[rows++] = top;
      top += Math.min(full, tall * 1.25) + CAPTION + GAP;
    }
    starts[rows] = count; tops[rows] = top;
    Object.assign(this, { width, tall, starts: starts.slice(0, rows + 1), tops: tops.slice(0, rows + 1), count: rows, total: top });
    this.height = Math.min(top, 15e6 / devicePixelRatio); // browsers cap how tall a box may be
    styled(this.box, { height: `${this.height}px` });
    this.box.setAttribute("aria-rowcount", rows);
    for (const row of this.rows.values()) this.put(row);
    this.rows.clear();
    if (count) this.jump(this.tops[this.rowOf(keep)]);
    this.render();
    if (focused && this.cursor >= 0 && this.cursor < count) this.focus(this.cursor); // its tile stands again
  }

  rowAt(top) { return this.find(this.tops, top); }
  rowOf(n) { return this.find(this.starts, n); }
  find(list, value) {
    let low = 0, high = Math.max(0, this.count - 1);
    while (low < high) { const mid = (low + high + 1) >> 1; if (list[mid] <= value) low = mid; else high = mid - 1; }
    return low;
  }

  /** Show a place of the whole, however tall it is. */
  jump(virtual) {
    const most = Math.max(0, this.total - this.view.clientHeight);
    this.virtual = Math.max(0, Math.min(virtual, most));
    const real = Math.max(0, this.height - this.view.clientHeight);
    this.last = this.view.scrollTop = most ? Math.round(this.virtual / most * real) : 0;
    this.last = this.view.scrollTop;
    this.frame();
  }

  frame() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => { this.asked = 0; this.move(); });
  }

  move() {
    const now = this.view.scrollTop, high = this.view.clientHeight, by = now - this.last;
    const most = Math.max(0, this.total - high), real = Math.max(1, this.height - high);
    if (this.height >= this.total) this.virtual = now;
    else if (now <= 0) this.virtual = 0;
    else if (now >= real - 1) this.virtual = most;
    else if (Math.abs(by) > 2 * high) this.virtual = now / real * most; // a jump of the bar
    else this.virtual = Math.max(0, Math.min(this.virtual + by, most)); // a small move is what it is
    this.last = now;
    this.fast = Math.abs(by) > 0.8 * high;
    this.render(now);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle(), 90);
  }

  settle() {
    this.fast = false;
    const most = Math.max(1, this.total - this.view.clientHeight), real = this.height - this.view.clientHeight;
    if (this.height < this.total) { const place = Math.round(this.virtual / most * real); if (Math.abs(place - this.last) > 1) { this.view.scrollTop = place; this.last = this.view.scrollTop; } }
    this.render(this.last);
  }

  render(now = this.view.scrollTop) {
    const high = this.view.clientHeight;
    if (!this.count) { for (const row of this.rows.values()) this.put(row); this.rows.clear(); this.box.replaceChildren(); return; }
    const first = this.rowAt(Math.max(0, this.virtual - high * 0.6)), last = this.rowAt(this.virtual + high * 1.6);
    const held = this.cursor >= 0 && this.box.contains(document.activeElement) ? this.rowOf(this.cursor) : -1;
    for (const [r, row] of this.rows) if ((r < first || r > last) && r !== held) { this.put(row); this.rows.delete(r); }
    for (let r = first; r <= last; r++) if (!this.rows.has(r)) this.rows.set(r, this.take(r));
    let before = null; // rows stand in their order, for who hears them
    for (const r of [...this.rows.keys()].sort((a, b) => b - a)) {
      const row = this.rows.get(r);
      styled(row.element, { transform: `translateY(${this.tops[r] - this.virtual + now}px)` });
      if (row.element.nextSibling !== before || row.element.parentNode !== this.box) this.box.insertBefore(row.element, before);
      before = row.element;
    }
    if (!this.fast) {
      this.source.need(this.starts[first], this.starts[last + 1]);
      for (const row of this.rows.values()) for (const tile of row.tiles) this.fill(tile);
    }
    if (this.cursor < 0 || !this.rows.has(this.rowOf(this.cursor))) this.stop(this.starts[this.rowAt(this.virtual)]);
    else this.stop(this.cursor);
  }

  /** What has come in from the server. */
  arrived() { if (!this.fast) for (const row of this.rows.values()) for (const tile of row.tiles) this.fill(tile); }

  take(r) {
    const row = this.free.pop() || { element: make("div", { role: "row", class: "pictures" }), tiles: [] };
    const from = this.starts[r], to = this.starts[r + 1], shapes = [];
    let sum = 0;
    for (let n = from; n < to; n++) { shapes.push(Math.min(3, Math.max(0.5, this.source.shape(n)))); sum += shapes[n - from]; }
    const height = Math.min((this.width - (to - from - 1) * GAP) / sum, this.tall * 1.25);
    row.element.setAttribute("aria-rowindex", r + 1);
    while (row.tiles.length > to - from) row.tiles.pop().cell.remove();
    while (row.tiles.length < to - from) { const tile = this.tile(); row.tiles.push(tile); row.element.append(tile.cell); }
    row.tiles.forEach((tile, at) => {
      tile.n = from + at; tile.id = null;
      tile.cell.dataset.n = tile.n;
      tile.cell.setAttribute("aria-colindex", at + 1);
      styled(tile.cell, { width: `${height * shapes[at]}px` });
      styled(tile.frame, { height: `${height}px` });
      this.blank(tile);
    });
    return row;
  }

  put(row) { row.element.remove(); for (const tile of row.tiles) this.blank(tile); if (this.free.length < 6) this.free.push(row); }

  tile() {
    const picture = make("img", { alt: "", decoding: "async", draggable: "false" });
    const text = caption("", "und", "span"), bits = make("i", { class: "bits" }), frame = make("span", { class: "frame" }, picture);
    return { cell: make("div", { role: "gridcell", tabindex: "-1" }, frame, text, bits), frame, picture, text, bits, n: 0, id: null };
  }

  blank(tile) {
    tile.picture.removeAttribute("src"); tile.text.textContent = ""; tile.bits.replaceChildren(); tile.id = null;
    tile.cell.setAttribute("aria-label", t("Picture {0}", tile.n + 1));
  }

  fill(tile) {
    const item = this.source.item(tile.n);
    if (!item || item.id === tile.id) return;
    tile.id = item.id;
    tile.picture.src = thumb(item.id, devicePixelRatio >= 1.5 ? 480 : 240);
    tile.text.textContent = item.text;
    tile.text.lang = item.lang === "und" ? "" : item.lang;
    if (item.text) tile.cell.removeAttribute("aria-label");
    tile.bits.replaceChildren();
    if (item.parts) {
      for (const [name, part] of Object.entries(item.parts))
        tile.bits.append(styled(make("b", { class: COLOURS[name] || "pa" }), { flex: `${Math.max(0.02, Math.abs(part.score))}` }));
    }
  }

  /** One stop of Tab. */
  stop(n) {
    for (const [, row] of this.rows) for (const tile of row.tiles) tile.cell.tabIndex = tile.n === n ? 0 : -1;
  }

  mark(n) { this.cursor = n; this.stop(n); this.moved(n); }

  focus(n, real = true) {
    this.cursor = n;
    const r = this.rowOf(n), top = this.tops[r], bottom = this.tops[r + 1];
    if (top < this.virtual) { this.jump(top); this.move(); }
    else if (bottom > this.virtual + this.view.clientHeight) { this.jump(bottom - this.view.clientHeight + 4); this.move(); }
    const tile = this.rows.get(r)?.tiles[n - this.starts[r]];
    if (tile && real) tile.cell.focus({ preventScroll: true });
    this.mark(n);
  }

  key(event) {
    const n = this.of(event.target);
    if (n < 0 || event.altKey || event.isComposing) return;
    const way = root.dir === "rtl" ? -1 : 1, all = this.source.count, row = this.rowOf(n), far = event.ctrlKey || event.metaKey;
    const screen = Math.max(1, Math.floor(this.view.clientHeight / (this.tall + CAPTION)));
    const to = {
      ArrowRight: () => n + way, ArrowLeft: () => n - way, ArrowDown: () => this.beside(n, 1), ArrowUp: () => this.beside(n, -1),
      PageDown: () => this.beside(n, screen), PageUp: () => this.beside(n, -screen),
      Home: () => (far ? 0 : this.starts[row]), End: () => (far ? all - 1 : this.starts[row + 1] - 1),
    }[event.key];
    if (event.key === "Enter") { event.preventDefault(); this.open(n); }
    if (!to) return;
    event.preventDefault();
    this.focus(Math.max(0, Math.min(all - 1, to())));
  }

  /** The picture some rows on whose middle is nearest. */
  beside(n, rows) {
    const row = this.rowOf(n), other = Math.max(0, Math.min(this.count - 1, row + rows));
    if (other === row) return n;
    const middle = (r, at) => { let sum = 0, x = 0; for (let i = this.starts[r]; i < this.starts[r + 1]; i++) { const s = this.source.shape(i); if (i === at) x = sum + s / 2; sum += s; } return x / sum; };
    const wanted = middle(row, n);
    let best = this.starts[other], least = 9;
    for (let i = this.starts[other]; i < this.starts[other + 1]; i++) { const d = Math.abs(middle(other, i) - wanted); if (d < least) { least = d; best = i; } }
    return best;
  }
}

/** Pictures that are already here. */
export class Listed {
  constructor(items) { this.items = items; this.count = items.length; }
  shape(n) { return this.items[n].shape || 1; }
  item(n) { return this.items[n]; }
  need() {}
}

/** All pictures of the dataset: shapes at once, the rest by windows, a few of which are kept. */
export class Shelf {
  constructor(shapes, version, fetched, changed) {
    Object.assign(this, { shapes, version, fetched, changed, count: shapes.length, windows: new Map(), waiting: new Set(), arrived: () => {} });
  }
  shape(n) { return this.shapes[n] / 1000; }
  item(n) { const at = Math.floor(n / Shelf.WINDOW), held = this.windows.get(at); return held && held[n - at * Shelf.WINDOW]; }
  need(from, to) {
    for (let at = Math.floor(from / Shelf.WINDOW); at <= Math.floor(Math.max(from, to - 1) / Shelf.WINDOW); at++) {
      if (this.windows.has(at)) { const held = this.windows.get(at); this.windows.delete(at); this.windows.set(at, held); continue; }
      if (this.waiting.has(at)) continue;
      this.waiting.add(at);
      this.fetched(at * Shelf.WINDOW, Shelf.WINDOW, this.version).then((items) => {
        this.windows.set(at, items);
        if (this.windows.size > 12) this.windows.delete(this.windows.keys().next().value);
        this.arrived();
      }, (error) => this.changed(error)).finally(() => this.waiting.delete(at));
    }
  }
}
Shelf.WINDOW = 100;
