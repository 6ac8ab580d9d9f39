"""Command ``mlsrv infer``: arguments of a run, and its course."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Sequence

import rich_click as click
from attrs import frozen

from mlsrv_cli.connection import TIMEOUT, Connection, connection_options
from mlsrv_cli.infer.mapping import RowMapper
from mlsrv_cli.infer.output import Output, open_output
from mlsrv_cli.infer.progress import Progress
from mlsrv_cli.infer.reading import FORMATS, read_records
from mlsrv_cli.infer.sending import Sender
from mlsrv_protocol.errors import MLSrvError

INTERRUPTED = 130


@frozen(kw_only=True)
class Run:
    """One run over some files.

    Attributes:
        connection: the server.
        model, version: the model.
        files: what to send, see `mlsrv_cli.infer.reading.read_records`.
        format: of the files, or None.
        columns, content_type: see `mlsrv_cli.infer.mapping.RowMapper`.
        outputs, as_json, batch, parallel, streams, retries: see `mlsrv_cli.infer.sending.Sender`.
        timeout: seconds for one request.
        quiet: show no progress.
    """

    connection: Connection
    model: str
    files: Sequence[str]
    version: str | None = None
    format: str | None = None
    columns: Sequence[str] | None = None
    content_type: str | None = None
    outputs: Sequence[str] | None = None
    as_json: bool = False
    batch: int = 1
    parallel: int = 4
    streams: bool = False
    retries: int = 5
    timeout: float = 60.0
    quiet: bool = False


@click.command()
@click.argument("model")
@click.argument("files", nargs=-1, required=True, metavar="FILE|-...")
@connection_options
@click.option("--version", help="A version of the model; the default one without it.")
@click.option(
    "--format", type=click.Choice(FORMATS), help="Of the files.  [default: by their names; jsonl for -]"
)
@click.option("--columns", metavar="A,B,…", help="The columns of a table to send, in this order.")
@click.option("--content-type", help="Of the requests that rows and values become, such as pd.")
@click.option("--outputs", metavar="A,B,…", help="The outputs to ask for; all without it.")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="Write the answers to a file.")
@click.option("--values", is_flag=True, help="Write the values of the outputs in place of whole responses.")
@click.option("--resume", is_flag=True, help="Continue the output file where an earlier run ended.")
@click.option("--force", is_flag=True, help="Replace the output file.")
@click.option(
    "--batch", "-b", type=click.IntRange(1), default=1, show_default=True, help="Records in one request."
)
@click.option(
    "--parallel", "-p", type=click.IntRange(1, 1024), default=4, show_default=True, help="Requests at a time."
)
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Further attempts when the server cannot be reached, is not ready or is overloaded.",
)
@TIMEOUT
@click.option("--json", "as_json", is_flag=True, help="Send JSON over HTTP, in place of binary tensors.")
@click.option(
    "--stream", "streams", is_flag=True, help="Over Kafka, write each response of models that stream."
)
@click.option("--quiet", "-q", is_flag=True, help="Show no progress and no summary.")
@click.pass_context
def infer(
    ctx: click.Context,
    model: str,
    files: Sequence[str],
    connection: Connection,
    version: str | None,
    format: str | None,
    columns: str | None,
    content_type: str | None,
    outputs: str | None,
    output: str | None,
    values: bool,
    resume: bool,
    force: bool,
    batch: int,
    parallel: int,
    retries: int,
    timeout: float,
    as_json: bool,
    streams: bool,
    quiet: bool,
) -> None:
    """Send the records of files to MODEL of a running server; write one line of JSON for each, in order.

    A record is a line of JSON lines, a row of CSV or Parquet, an item of a JSON list, or an image. JSON
    records are requests of the protocol, rows by name ({"age": 31}), or values of a model with one input.

    A record that the server refuses leaves {"error": …}, and the exit code is 1. A server that is away is
    waited for (--retries); after that, or ctrl-C, --resume continues.
    """
    if resume and output in (None, "-"):
        raise click.UsageError("--resume needs a file to continue: --output FILE.", ctx)
    if streams and (resume or batch > 1):
        raise click.UsageError("--stream goes neither with --resume nor with --batch.", ctx)
    job = Run(
        connection=connection,
        model=model,
        files=files,
        version=version,
        format=format,
        columns=_names(columns),
        content_type=content_type,
        outputs=_names(outputs),
        as_json=as_json,
        batch=batch,
        parallel=parallel,
        streams=streams,
        retries=retries,
        timeout=timeout,
        quiet=quiet,
    )
    with open_output(output, resume=resume, force=force, values=values) as opened:
        ctx.exit(run(job, opened))


def run(job: Run, output: Output) -> int:
    """Send everything and write the answers; return 0, 1 if a record failed, 130 if interrupted.

    Raises:
        MLSrvError: the server cannot be reached, does not have the model, or refuses everything.
        click.ClickException: a file cannot be read.
    """
    progress = Progress(quiet=job.quiet)
    try:
        with progress:
            asyncio.run(_run(job, output, progress))
    except KeyboardInterrupt:
        _tell(job, f"Interrupted: {progress.summary()}")
        return INTERRUPTED
    except MLSrvError:
        if progress.answered or progress.failed:
            _tell(job, f"Ended early: {progress.summary()}")
        raise
    _tell(job, progress.summary())
    return 1 if progress.failed else 0


async def _run(job: Run, output: Output, progress: Progress) -> None:
    from mlsrv_protocol.client import AsyncClient

    async with job.connection.client(job.timeout, of=AsyncClient, retries=0) as client:
        sender = Sender(
            client=client,
            model=job.model,
            version=job.version,
            outputs=job.outputs,
            as_json=job.as_json,
            batch=job.batch,
            parallel=job.parallel,
            streams=job.streams,
            retries=job.retries,
            retried=progress.retried,
        )
        mapper = RowMapper(await sender.declared(), job.columns, job.content_type)
        records = itertools.islice(read_records(job.files, job.format, mapper), output.done, None)
        async for record, answer in sender.answers(records):
            failed = isinstance(answer, str)
            if isinstance(answer, str):
                output.problem(answer, record.request.id if record.request is not None else None)
            else:
                output.response(answer)
            progress.count(failed=failed)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _tell(job: Run, sentence: str) -> None:
    if not job.quiet:
        print(sentence, file=sys.stderr)
