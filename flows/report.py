"""What a run leaves on Prefect's page: how good the bank is, and what was refused."""

from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact

from evernorm.files import read_json
from tasks.inbox.inbox import Refusal
from tasks.tracking.figures import in_words
from tasks.tracking.gate import Decision
from tasks.workspace.workspace import Workspace


def report(workspace: Workspace, decisions: Sequence[Decision], refusals: Sequence[Refusal] = ()) -> None:
    """Make both artifacts anew; each workspace on a server has its own.

    Args:
        workspace: The workspace.
        decisions: What the gate made of the versions of this run.
        refusals: What was left in the inbox.
    """
    params, learned, whose = workspace.params, workspace.learned(), workspace.identity[:8]
    if learned and workspace.paths.metrics(learned[-1]).is_file():
        metrics = read_json(workspace.paths.metrics(learned[-1]))
        versions = [f"- {each.told}" for each in decisions] or ["- no new version"]
        text = "\n".join(
            [
                f"# {params.method}",
                "",
                *versions,
                "",
                in_words(metrics, workspace.displays(metrics["classes"])),
            ]
        )
        create_markdown_artifact(text, key=f"summary-{whose}", description="The bank after the last run.")
    left = [str(each) for each in refusals]
    left += [f"{each.told}\n  {each.cure}" for each in decisions if each.refused]
    left += [f"{workspace.display(name)} is set aside: {why}" for name, why in params.set_aside.items()]
    # In a code block, as names come from whoever delivers and could be Markdown.
    text = "\n".join(["```text", *left, "```"]) if left else "Nothing was refused."
    create_markdown_artifact(
        text, key=f"refusals-{whose}", description="Deliveries, versions and classes that were refused."
    )
