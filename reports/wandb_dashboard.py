"""`python -m reports wandb-dashboard`: makes or updates a W&B report of the results.

The tables are those of the local page. Each is followed by W&B's panels of its runs.
"""

import json
import multiprocessing
import os
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from experiments.registry import TABLE2, TABLE4, TABLE5, TABLES
from experiments.rows import Table
from experiments.stages.recognition_outputs import MULTI, SINGLE
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.stage import kind
from experiments.tracking.content import PARTS
from experiments.tracking.mode import logged_in, silence, wandb_mode
from experiments.tracking.run import PROJECT
from experiments.tracking.stage import ITERATION
from reports.claims import claims_markdown, decide
from reports.measures import all_measures
from reports.results import Results
from reports.sheets import sheets_of
from reports.studies import FOLDER as SWEEPS
from reports.writers import markdown
from reports.writing import where
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_json

PATIENCE = 90
"""Time (s) that W&B's server may take in total."""
QUIET_SECONDS = 30
"""Time (s) between two lines while the server is waited for, where there is no terminal."""

LINK = "dashboard.json"
MOST_RUNS = 100
"""Most runs in a panel. W&B's default is smaller than a table's number of rows."""

TRAINING = ("loss", "learning_rate", "gradient_norm", "steps_per_second", "data_share")
RECOGNITION = ("accuracy", "f1", "precision", "recall")
RECOGNITION_KEYS = {
    f"{measure} on {items}": f"{test}/{measure}/avg"
    for test, items in ((MULTI, "random mixtures"), (SINGLE, "single-labelled stems"))
    for measure in RECOGNITION
}
SDR_KEYS = {
    "SDR, average of the classes (dB)": "average",
    **{f"SDR of {name} (dB)": f"sdr/{name}" for name in CLASSES},
}
TRAININGS = ("classifier", "separator")
STUDY = "sweep"
"""Tag of the runs of a study and of its trials; job type of a study's run."""


def update_dashboard(results: Results, folder: Path) -> str:
    """Makes or updates the report and returns its address. `folder` holds the local page, and a
    file with the report's id and address.

    Raises InputError for a test on own songs, without an account, without the package, and when the
    server does not answer.
    """
    if results.on_folder:
        raise InputError(
            "the dashboard shows the test on the data's own songs; leave out --test folder"
        )
    silence()
    if wandb_mode() != "online" or not logged_in():
        raise InputError(
            "no W&B account is set up on this machine (`wandb login` does that, and WANDB_MODE "
            f"must not be offline); the same results are on the local page: {local_page(folder)}"
        )
    try:
        import wandb_workspaces.reports.v2  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the package wandb-workspaces cannot be imported ({error}): pip install "
            f"'selfrefine[tracking]', or see the local page: {local_page(folder)}"
        ) from error
    texts = local_texts(results, folder)
    return answered_in_time(results, texts, folder)


def answered_in_time(results: Results, texts: "Texts", folder: Path) -> str:
    """Saves the report in another process, and returns its address.

    The process is killed after its answer: if the server fails, W&B's package would keep it alive
    for minutes. Raises InputError when W&B fails or takes too long.
    """
    context = multiprocessing.get_context("spawn")
    answers, answer = context.Pipe(duplex=False)
    process = context.Process(target=save_and_tell, args=(results, texts, folder, answer))
    process.start()
    answer.close()
    try:
        why = f"no answer within {PATIENCE:.0f} s"
        for waited in range(0, PATIENCE, QUIET_SECONDS):
            if waited and not sys.stderr.isatty():
                print(f"W&B has not answered for {waited} s", file=sys.stderr)
            if answers.poll(QUIET_SECONDS):
                address, why = answers.recv()
                if address:
                    return str(address)
                break
    except EOFError:
        why = "its process ended without an answer"
    finally:
        process.kill()
        process.join()
    raise InputError(
        f"W&B did not take the dashboard ({why}); the local page is {local_page(folder)}"
    )


def local_page(folder: Path) -> str:
    """The path of the local page, and how to make it if it does not exist."""
    page = folder / "report.html"
    return str(page) if page.exists() else f"{page}, once `make report` has written it"


def save_and_tell(results: Results, texts: "Texts", folder: Path, answer: Connection) -> None:
    """Sends the report's address, or the reason why there is none."""
    try:
        answer.send((saved(results, texts, folder), ""))
    except Exception as error:  # W&B can raise any kind of error
        answer.send(("", (str(error) or repr(error)).splitlines()[0]))


@dataclass(frozen=True)
class Texts:
    """Markdown of the local report: one text per table, one for the claims, one per study.
    `known_id` is the id of the report that was saved before, or ""."""

    tables: dict[str, str]
    claims: str
    studies: dict[str, str]
    known_id: str


def local_texts(results: Results, folder: Path) -> Texts:
    measures = all_measures(results)
    return Texts(
        {name: markdown(table) for name, table in sheets_of(results, measures).items()},
        claims_markdown(decide(measures), where(results)),
        study_pages(folder),
        id_saved_before(folder / LINK),
    )


def id_saved_before(link: Path) -> str:
    try:
        return str(json.loads(link.read_bytes())["id"]) if link.exists() else ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{link}: does not name the report that it should ({error}); delete it to make another"
        ) from error


def saved(results: Results, texts: Texts, folder: Path) -> str:
    import wandb

    entity = os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    report = dashboard(results, texts, entity, project)
    if texts.known_id:
        # With this id the existing report gets the new content and keeps its address.
        report.id = texts.known_id
    report.save()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / LINK, {"id": report.id, "url": report.url})
    return str(report.url)


def study_pages(folder: Path) -> dict[str, str]:
    """The pages that `python -m sweeps show` wrote, by study, without their pictures."""
    pages = {}
    for path in sorted((folder / SWEEPS).glob("*.md")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be read ({error}); show the study again, or delete the file"
            ) from error
        pages[path.stem] = "\n".join(
            line for line in text.splitlines() if not line.startswith("![")
        )
    return pages


def dashboard(results: Results, texts: Texts, entity: str, project: str) -> Any:
    """The report as a W&B object that is not yet saved."""
    import wandb_workspaces.reports.v2 as wr

    tags = [results.profile, results.data]
    blocks: list[Any] = [
        wr.P(f"Data {results.data}, profile {results.profile}: {results.meaning}."),
        wr.TableOfContents(),
    ]
    for name, table in TABLES.items():
        blocks += [
            wr.H2(f"{name.capitalize()}: {table.title}"),
            wr.MarkdownBlock(texts.tables[name]),
            grid(wr, entity, project, [*tags, name], (table_kind(table),), panels_of(wr, table)),
        ]
    blocks += [
        wr.H2("Claims"),
        wr.MarkdownBlock(texts.claims),
        wr.H2("Curves per refining iteration"),
        wr.P(
            "The iteration is the number of classifiers in a row behind a run, each trained on the "
            "labels of the one before; 0 is the noisy labels. Clean rows have none."
        ),
        *(
            grid(wr, entity, project, [*tags, table.name], (table_kind(table),), panels)
            for table, panels in (
                (TABLE4, iteration_panels(wr, RECOGNITION_KEYS)),
                (TABLE5, iteration_panels(wr, SDR_KEYS)),
            )
        ),
        wr.H2("Training"),
        grid(wr, entity, project, tags, TRAININGS, training_panels(wr)),
        wr.H2("Validation while training"),
        grid(wr, entity, project, tags, TRAININGS, validation_panels(wr)),
        wr.H2("Sound"),
        grid(wr, entity, project, [*tags, "table2"], (table_kind(TABLE2),), [sound_panel(wr)]),
        wr.H2("Sweeps"),
        grid(wr, entity, project, [*tags, STUDY], (STUDY,), study_panels(wr)),
        wr.H3("Trainings of the sweeps' trials"),
        grid(
            wr, entity, project, [*tags, STUDY], (*TRAININGS, table_kind(TABLE2)), trial_panels(wr)
        ),
    ]
    for study, text in texts.studies.items():
        blocks += [wr.H3(study), wr.MarkdownBlock(text)]
    return wr.Report(
        entity=entity,
        project=project,
        title=f"Self-refining of pseudo labels, {results.data}-{results.profile}",
        description="Made by `python -m reports wandb-dashboard`",
        blocks=blocks,
        width="fluid",
    )


def grid(
    wr: Any,
    entity: str,
    project: str,
    tags: list[str],
    kinds: tuple[str, ...],
    panels: list[Any],
) -> Any:
    """Panels over the runs that have all the tags and one of the kinds.

    W&B limits the number of runs in a panel, so only runs that log the drawn values are chosen.
    """
    from wandb_workspaces import expr

    chosen = [expr.Tags().isin([tag]) for tag in tags]
    chosen.append(expr.Metric("JobType").isin([*kinds]))
    runs = wr.Runset(entity=entity, project=project, name=", ".join(tags), filters=chosen)
    return wr.PanelGrid(runsets=[runs], panels=panels)


def table_kind(table: Table) -> str:
    """The job type of the runs of a table's rows."""
    return kind(table.rows[0].stage)


def bars(wr: Any, title: str, keys: list[str]) -> Any:
    return wr.BarPlot(title=title, metrics=keys, max_runs_to_show=MOST_RUNS)


def lines(wr: Any, title: str, keys: list[str], groupby: str | None = None) -> Any:
    return wr.LinePlot(title=title, x="Step", y=keys, groupby=groupby, max_runs_to_show=MOST_RUNS)


def panels_of(wr: Any, table: Table) -> list[Any]:
    if isinstance(table.rows[0].stage, RecognitionScore):
        return recognition_panels(wr)
    return [
        bars(wr, "SDR, average of the classes (dB)", ["average"]),
        bars(wr, "SDR by class (dB)", [f"sdr/{name}" for name in CLASSES]),
        wr.RunComparer(diff_only="split"),
    ]


def recognition_panels(wr: Any) -> list[Any]:
    return [bars(wr, title, [key]) for title, key in RECOGNITION_KEYS.items()]


def iteration_panels(wr: Any, keys: dict[str, str]) -> list[Any]:
    """Scatter plots with one point per run, since W&B draws lines only over steps."""
    return [
        wr.ScatterPlot(
            title=f"{title}, by iteration", x=wr.Config(ITERATION), y=wr.SummaryMetric(key)
        )
        for title, key in keys.items()
    ]


def training_panels(wr: Any) -> list[Any]:
    return [lines(wr, name.replace("_", " "), [name], groupby="JobType") for name in TRAINING]


def validation_panels(wr: Any) -> list[Any]:
    """Panels of SDR and of recognition metrics over the steps, one line per training. The panels by
    class have averages over the trainings."""
    whole = [
        lines(wr, f"{name} on validation songs", [f"validation/{name}"])
        for name in ("sdr", *RECOGNITION)
    ]
    by_class = [
        lines(
            wr,
            f"{name} on validation songs, by class",
            [f"validation/{name}/{each}" for each in CLASSES],
            groupby="JobType",
        )
        for name in ("sdr", "f1")
    ]
    return whole + by_class


def sound_panel(wr: Any) -> Any:
    keys = [f"examples/{song}/{part}" for song in (1, 2) for part in PARTS]
    return wr.MediaBrowser(title="mixture, estimates and references", media_keys=keys)


def study_panels(wr: Any) -> list[Any]:
    """Panels of a study's run: the objective over its trials, and the table of the trials."""
    return [
        lines(wr, "objective of each trial", ["value"]),
        lines(wr, "best objective so far", ["best_value"]),
        wr.WeavePanelSummaryTable(table_name="tables/trials"),
    ]


def trial_panels(wr: Any) -> list[Any]:
    """Panels of the runs of the trials' stages: SDR of separators, and the course of trainings."""
    while_training = [
        lines(wr, f"{name} of trials", [name])
        for name in ("validation/sdr", "validation/f1", "loss")
    ]
    return [
        bars(wr, "SDR of trials on validation songs (dB)", ["average"]),
        wr.ParameterImportancePlot(with_respect_to="average"),
        *while_training,
    ]
