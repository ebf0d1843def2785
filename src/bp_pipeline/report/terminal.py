"""The report on a terminal: two sentences and two tables, the default sweep's in 80 columns."""

from rich import box
from rich.table import Table as Grid
from rich.text import Text

from bp_pipeline.report import sentences
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.printed import best_learning_rates, rates
from bp_pipeline.terminal import Screen

_WIDTH_OF_FILES = 160  # columns, where no terminal says how many there are
_TERMINAL_COLUMNS = 5  # of the best learning rates, after the keys: the others would not fit


def print_report(findings: Findings) -> None:
    """Print what came out, convergence rates, and the best learning rate of each setting."""
    console = Screen()
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    console.print()
    console.print(Text(sentences.came_out(findings)), style="bold")
    if findings.summary.empty:
        return
    console.print(Text(sentences.winner(findings)))
    for table in (rates(findings), best_learning_rates(findings)):
        console.print(f"\n{table.title}", highlight=False)
        grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        wanted = table.text
        if table.name == "best_learning_rates":
            wanted = wanted.iloc[:, : table.n_keys + _TERMINAL_COLUMNS - 1]
        for number, column in enumerate(wanted.columns):
            is_key = number < table.n_keys
            grid.add_column(Text(column), justify="left" if is_key else "right", no_wrap=True)
        for row in wanted.itertuples(index=False):
            grid.add_row(*map(Text, row))
        console.print(grid)
