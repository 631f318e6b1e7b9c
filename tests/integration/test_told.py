"""People are told what became of what arrived, by the Prefect server, through the notification blocks of params.yaml."""

import json
from uuid import uuid4

import pytest

from tasks.workspace.workspace import MARKER, Workspace
from tests.helpers.prefect_api import prefect
from tests.helpers.webhook import webhook


@pytest.fixture
def workspace(fresh, tmp_path):
    """An empty one that no other test deploys."""
    root = fresh(tmp_path / "workspace")
    note = json.loads((root / MARKER).read_text())
    (root / MARKER).write_text(json.dumps({**note, "id": str(uuid4())}))
    return root


def test_people_hear_what_is_learned_refused_and_failed(
    workspace, evernorm, small, open_gate, draw_photos, tmp_path
):
    """Each once: what is left in the inbox is not told again before something else is wrong with it."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "stray.txt").write_text("?")
    evernorm("pack", draw_photos(tmp_path / "photos") / "cloth", inbox)
    look = ("watch", "--once", "--workspace", workspace)
    with webhook() as chat:
        with prefect():
            block = chat.block("quality")
        asked = [f"watch.notify.{what}={block}" for what in ("success", "refusal", "failure")]
        settings = [each for each in (*small, *open_gate) if each != "--set"]
        Workspace.open(workspace).configure([*settings, *asked, f"watch.inbox={inbox}"])
        evernorm("deploy", "--workspace", workspace)
        assert "the server has what" in evernorm("deploy", "--check", "--workspace", workspace).stdout
        for _ in range(2):
            assert 3 == evernorm(*look, check=False).returncode
        learned, refused = sorted(chat.wait_for(2), key=lambda each: each["subject"])
        assert "evernorm: cloth is learned" == learned["subject"]
        assert f"continual-bank version 1 is champion\n{workspace}" in learned["body"]
        assert "evernorm: stray.txt is refused" == refused["subject"]
        assert "stray.txt is left in the inbox" in refused["body"]
        (inbox / "stray.txt").rename(inbox / "other.txt")
        evernorm(*look, check=False)
        assert "evernorm: other.txt is refused" == chat.wait_for(3)[-1]["subject"]
        fail(workspace)
        failed = chat.wait_for(4)[-1]
    assert failed["subject"].endswith(": Failed")
    assert "the inbox is out of reach" in failed["body"]


def fail(workspace) -> None:
    """Let a run of the deployed watch fail, as a worker would say."""
    from prefect.states import Failed

    with prefect() as client:
        name = f"watch-inbox/inbox-{Workspace.open(workspace).identity[:8]}"
        run = client.create_flow_run_from_deployment(client.read_deployment_by_name(name).id)
        client.set_flow_run_state(run.id, Failed(message="the inbox is out of reach"), force=True)


def test_blocks_that_are_not_there_are_told_before_anything_is_deployed(workspace, evernorm, tmp_path):
    """All at once; a block that notifies nobody is none."""
    from prefect.blocks.system import Secret

    with prefect():
        Secret(value="?").save("mute", overwrite=True)
    asked = ["watch.notify.success=slack-webhook/nobody", "watch.notify.failure=secret/mute"]
    Workspace.open(workspace).configure([*asked, f"watch.inbox={tmp_path}"])
    done = evernorm("deploy", "--workspace", workspace, check=False)
    assert 1 == done.returncode
    assert "watch.notify.success: the server has no block slack-webhook/nobody" in done.stderr
    assert "watch.notify.failure: secret/mute is no notification block" in done.stderr
    with prefect() as client:
        names = {each.name for each in client.read_deployments()}
    assert f"inbox-{Workspace.open(workspace).identity[:8]}" not in names


def test_whoever_is_not_to_be_told_any_more_is_not(workspace, evernorm):
    """An automation that params.yaml no longer asks for differs, and goes with the next deploy; nobody is told by default."""
    deploy = ("deploy", "--workspace", workspace)
    with webhook() as chat, prefect():
        block = chat.block("leaving")
    Workspace.open(workspace).configure([f"watch.notify.success={block}"])
    evernorm(*deploy)
    assert [f"success → {block}"] == automations(workspace)
    Workspace.open(workspace).configure(['watch.notify.success=""'])
    done = evernorm(*deploy, "--check", check=False)
    assert 1 == done.returncode
    assert f"success → {block}': no longer asked for" in done.stdout
    evernorm(*deploy)
    assert [] == automations(workspace)


def automations(workspace) -> list[str]:
    """What the server does for a workspace alone."""
    prefix = f"evernorm {Workspace.open(workspace).identity[:8]}: "
    with prefect() as client:
        return [
            each.name.removeprefix(prefix)
            for each in client.read_automations()
            if each.name.startswith(prefix)
        ]
