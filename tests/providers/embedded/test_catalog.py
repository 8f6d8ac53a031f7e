import pytest

from panoglot.errors import MissingPackage, UserError
from panoglot.providers import load_model
from panoglot.providers.embedded import catalog
from panoglot.providers.roles import ROLES


@pytest.mark.parametrize("info", catalog(), ids=lambda info: info.name)
def test_ready_models_load_in_their_roles_and_others_say_how(info):
    for role in info.roles:
        if info.ready:
            model = _loaded(info.name, role)
            assert isinstance(model, ROLES[role].protocol)
            assert model.name.startswith(info.name)
            assert model.fingerprint
            assert model.batch_size > 0
        else:
            assert info.install
            with pytest.raises(MissingPackage if "pip" in info.install else UserError, match="install"):
                load_model(info.name, role)


def _loaded(name, role):
    try:
        return load_model(name, role)
    except UserError as error:
        if "apt-get install" in str(error):
            pytest.skip(f"a program without its data: {error}")
        raise


def test_unknown_names_and_options():
    with pytest.raises(UserError, match="Did you mean 'conse'"):
        load_model("embedded:consee")
    with pytest.raises(UserError, match="Did you mean 'engine'"):
        load_model("embedded:langid?engin=x")
