"""The command line: what a person types at a shell. Each command's help holds an example."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bot import app, reports, settings, verify
from bot.core.costs.money import dollars
from bot.core.ports import WorldError
from bot.core.spec import Check, Draft, Invalid
from bot.core.verification.measuring import LEVELS
from bot.core.verification.verdict import report_to_json
from handlers.redact import install_redaction


class _Group(click.Group):
    """Turns what people can mend into one line a problem; never a stack trace at start."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except settings.SettingsError as error:
            _die(*error.problems)
        except WorldError as error:
            _die(error.reason, error.remedy)
        except app.NotReady as error:
            _die(*error.problems)
        return None


def _die(*lines: str) -> None:
    for line in lines:
        if line:
            click.echo(line, err=True)
    sys.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def main(*, verbose: bool) -> None:
    """Hand out verified GPU clusters from Slack, through Rancher, on AWS.

    \b
    First steps:
      gpu-cluster sandbox                       play with it in your browser; needs nothing
      gpu-cluster example-config > gpu-cluster.toml
      gpu-cluster doctor                        what is missing, and how to mend it
      gpu-cluster run
      gpu-cluster verify                        on any cluster with GPUs, by your kubeconfig alone
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    install_redaction()
    for noisy in ("botocore", "aiohttp.access", "slack_bolt.App"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # These log what they then raise, and every retry: what becomes of it is said once, by whoever asked.
    for doubled in ("urllib3", "slack_sdk.web"):
        logging.getLogger(doubled).setLevel(logging.DEBUG if verbose else logging.CRITICAL)


@main.command()
def run() -> None:
    """Run the bot: Slack, and the engine in the same process.

    \b
    Example:
      SLACK_BOT_TOKEN=xoxb-… SLACK_APP_TOKEN=xapp-… RANCHER_URL=https://rancher.example.com \\
      RANCHER_TOKEN=token-… gpu-cluster run
    """
    app.run_bot(settings.load())


@main.command()
def worker() -> None:
    """Run an engine without Slack, beside a bot on the same store.

    \b
    Example:
      DATABASE_URL=sqlite:////var/lib/gpu-cluster/gpu-cluster.db gpu-cluster worker
    """
    app.run_worker(settings.load())


@main.command()
@click.option("--headless", is_flag=True, help="Play without a page: create, approve, watch, and end.")
@click.option(
    "--json", "as_json", is_flag=True, help="With --headless: one JSON object per channel event, the outcome last."
)
@click.option(
    "--speed", type=click.FloatRange(1, 600), default=60.0, show_default=True, help="World seconds per real second."
)
@click.option("--preset", default="starter", show_default=True, help="Which preset the headless play asks for.")
@click.option("--fault", "faults", multiple=True, help="Make something go wrong, by name; may be given several times.")
@click.option("--without-p3", is_flag=True, help="AWS as it is since 2026: the P3 family is no longer listed.")
@click.option("--rancher", default="2.15", show_default=True, help="Which Rancher to play: 2.11, 2.13 or 2.15.")
@click.option("--play", help="With --headless: a play file (TOML), or “walkthrough”.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page; 0 takes a free one.")
@click.option("--state", type=click.Path(path_type=Path), help="Keep the sandbox's state and logs in this new folder.")
def sandbox(
    *,
    headless: bool,
    as_json: bool,
    speed: float,
    preset: str,
    faults: tuple[str, ...],
    without_p3: bool,
    rancher: str,
    play: str,
    port: int,
    state: Path | None,
) -> None:
    """Try everything on this machine: a Slack-like page, a simulated Rancher, AWS by moto, the real bot.

    \b
    Examples:
      gpu-cluster sandbox                                     prints a URL; act there in any role
      gpu-cluster sandbox --headless --play walkthrough
      gpu-cluster sandbox --headless --json --fault no-capacity
      gpu-cluster sandbox --headless --preset blog --without-p3
    """
    if not headless and (as_json or play):
        raise click.UsageError("--json and --play go with --headless.")
    sys.exit(
        app.sandbox(
            headless=headless,
            as_json=as_json,
            speed=speed,
            preset=preset,
            faults=faults,
            p3=not without_p3,
            rancher=rancher,
            play=play,
            port=port,
            state=state,
        )
    )


@main.command()
def doctor() -> None:
    """Check tokens, Rancher, AWS, configuration and store; say how to mend what is missing.

    \b
    Example:
      gpu-cluster doctor
    """
    checks = app.examine()
    for check in checks:
        _print_check(check)
    sys.exit(0 if all(check.state == "ok" for check in checks) else 1)


@main.command()
@click.argument("name")
@click.option("--preset", required=True, help="A preset of gpu-cluster.toml.")
@click.option("--gpus", default="1", show_default=True, help="GPUs in all.")
@click.option("--hours", default="8", show_default=True, help="Hours of use, counted from ready.")
@click.option("--team", default="default", show_default=True, help="For which team.")
@click.option("--dry-run", is_flag=True, help="Resolve and print; ask nobody, make nothing.")
def create(*, name: str, preset: str, gpus: str, hours: str, team: str, dry_run: bool) -> None:
    """Show what a create would make: every check, and the envelope that a lead would approve.

    \b
    Example:
      gpu-cluster create --dry-run train-a --preset h100 --gpus 1 --hours 8
    """
    if not dry_run:
        _die(
            "Clusters are asked for in Slack, where a lead approves them:",
            f'  /gpu-cluster create {name} --preset {preset} --gpus {gpus} --hours {hours} --reason "…"',
            "Here, add --dry-run to see what it would make.",
        )
    try:
        found = app.dry_run(settings.load(), Draft(name, preset, gpus, hours, "dry run"), team)
    except Invalid as error:
        _die(*(f"{problem.field}: {problem.message}" for problem in error.problems))
        return
    for check in found.checks:
        _print_check(check)
    if found.envelope is None:
        _die("Nothing would be made: see above.")
        return
    click.echo(json.dumps({"hash": found.envelope.digest(), **app.as_plain(found.envelope)}, indent=2))


@main.command("verify")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    envvar="KUBECONFIG",
    default=Path("~/.kube/config"),
    show_default=True,
    help="The cluster, as kubectl knows it.",
)
@click.option("--context", default="", help="Which context of it; its current one by default.")
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="standard",
    show_default=True,
    help="How long the probe looks: seconds, up to a minute, minutes.",
)
@click.option("--image", default="", help="The probe's image, any glibc Python 3.8 or newer; for your own registry.")
@click.option("--pull-secret", "pull_secrets", multiple=True, help="For that image, in namespace gpu-cluster-verify.")
@click.option("--vector-add", is_flag=True, help="Also run NVIDIA's vectorAdd sample, once for each GPU.")
@click.option("--dcgm", type=click.IntRange(0, 3), default=0, help="Also run DCGM's diagnostics at this run level.")
@click.option("--json", "as_json", is_flag=True, help="The whole report as one JSON object.")
def verify_command(
    *,
    kubeconfig: Path,
    context: str,
    level: str,
    image: str,
    pull_secrets: tuple[str, ...],
    vector_add: bool,
    dcgm: int,
    as_json: bool,
) -> None:
    """Measure every idle GPU of a cluster that exists, and say which are good.

    Needs only a kubeconfig that may read nodes and pods and make a namespace and Jobs. GPUs in use are left alone; the
    namespace gpu-cluster-verify is removed afterwards. Exit status: 0 verified, 1 degraded or failed, 2 could not
    start, 3 unknown.

    \b
    Example:
      gpu-cluster verify --kubeconfig ~/.kube/config --context my-gpus
    """

    def say(text: str) -> None:
        click.echo(text, err=True)

    report = app.verify_cluster(
        kubeconfig.expanduser(), context, level, image, pull_secrets, say, vector_add=vector_add, dcgm=dcgm
    )
    if as_json:
        click.echo(report_to_json(report))
    else:
        Console().print(verify.table(report))
        for text in verify.lines(report):
            click.echo(text)
    sys.exit(verify.EXIT[report.verdict])


@main.command()
@click.argument("name", required=False, default="")
def cost(*, name: str) -> None:
    """Show what clusters have cost, by our own clock and the prices that were approved.

    \b
    Examples:
      gpu-cluster cost
      gpu-cluster cost train-a
    """
    bills = [bill for bill in reports.costs(settings.load()) if not name or bill.cluster == name]
    if not bills:
        what = f"a cluster “{name}”" if name else "clusters: there have been none yet"
        click.echo(f"Nothing has been spent on {what}.")
        return
    table = Table("cluster", "state", "team", "requester")
    for heading in ("hours", "so far", "on GPUs nobody could use", "still promised"):
        table.add_column(heading, justify="right")
    for bill in bills:
        sums = ("unknown" if s is None else dollars(s) for s in (bill.spent, bill.unusable, bill.promised))
        table.add_row(bill.cluster, bill.state, bill.team, bill.requester, f"{bill.hours:.1f}", *sums)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


@main.command()
@click.option(
    "--terminate", multiple=True, metavar="ID", help="End this one, if nothing speaks against it; asks first."
)
@click.option("--yes", is_flag=True, help="With --terminate: do not ask.")
def orphans(*, terminate: tuple[str, ...], yes: bool) -> None:
    """List what is left in AWS of clusters that are gone. Ends nothing unless told to, one by one.

    \b
    Examples:
      gpu-cluster orphans
      gpu-cluster orphans --terminate i-0123456789abcdef0
    """
    loaded = settings.load()
    if terminate:
        if not yes:
            click.confirm(f"End {', '.join(terminate)} for good?", abort=True)
        click.echo(f"Ending: {', '.join(reports.terminate(loaded, terminate))}")
        return
    found = reports.left_in_aws(loaded)
    for region, left in found.items():
        for orphan in left:
            thing = orphan.thing
            click.echo(
                f"{region}  {thing.kind:14} {thing.id}  {thing.cluster or thing.name}  {thing.detail}  {orphan.why}"
                + (f"; by hand: {orphan.kept}" if orphan.kept else "")
            )
    if not any(found.values()):
        click.echo(f"Nothing is left in {', '.join(found)}.")


@main.command()
@click.option("--days", type=click.FloatRange(min=0), default=3.0, show_default=True, help="Idle for that long.")
def forgotten(*, days: float) -> None:
    """List clusters whose GPUs no pod has asked for in days, as far as their pods still tell.

    \b
    Example:
      gpu-cluster forgotten --days 2
    """
    idle = reports.unused(settings.load(), days)
    for one in idle:
        since = datetime.fromtimestamp(one.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
        said = (
            f"could not be asked: {one.why_unknown}" if one.why_unknown else f"no pod has asked for a GPU since {since}"
        )
        click.echo(f"{one.cluster.name} ({one.cluster.team}, {one.cluster.owner}): {said}")
    if not idle:
        click.echo(f"There is no cluster whose GPUs nobody has asked for in {days:g} days.")


@main.command()
@click.argument("name")
@click.option("--terraform", is_flag=True, help="For Terraform's rancher2 provider instead.")
def export(*, name: str, terraform: bool) -> None:
    """Print a cluster as YAML for a GitOps repository: machine configs, cluster, repos, charts. Without secrets.

    \b
    Examples:
      gpu-cluster export train-a > train-a.yaml
      gpu-cluster export train-a --terraform > train-a.tf
    """
    click.echo(app.export(settings.load(), name, for_terraform=terraform), nl=False)


@main.command("example-config")
def example_config() -> None:
    """Print an example gpu-cluster.toml.

    \b
    Example:
      gpu-cluster example-config > gpu-cluster.toml
    """
    click.echo(settings.example_config(), nl=False)


def _print_check(check: Check) -> None:
    word = "ok, but" if check.warns else {"ok": "ok", "no": "NO", "unknown": "could not check"}[check.state]
    click.echo(f"{word:>15}  {check.name}: {check.detail.removeprefix(f'{word}: ')}", err=True)
    if check.remedy:
        click.echo(f"{'':>15}  → {check.remedy}", err=True)


if __name__ == "__main__":
    main()
