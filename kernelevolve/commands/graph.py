"""`kernelevolve graph`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from kernelevolve.commands.arguments import parser

NOTE = "Works while the run goes on. NODE is a node's id, its island and step as in 0.12, or best."


def main(arguments: Sequence[str]) -> int:
    """Show the statistics and the best nodes of a run's graph, or one node with its relatives."""
    line = parser(
        "graph", "Inspect a run's graph: statistics and the best nodes, or one node with its relatives.", NOTE
    )
    line.add_argument("folder", type=Path, metavar="RUN", help="the folder of the run")
    line.add_argument("node", nargs="?", metavar="NODE", help="the node whose lineage, siblings and children are shown")
    line.add_argument("-n", "--count", type=int, default=10, help="the number of best nodes (default: 10)")
    line.add_argument("--source", action="store_true", help="print the node's kernel, nothing else")
    line.add_argument("--exchanges", action="store_true", help="print the exchanges with a model for the node")
    line.add_argument("--json", action="store_true", help="one JSON object")
    options = line.read(arguments)
    if options.source and options.node is None:
        line.error("--source needs a NODE")
    if options.exchanges and options.node is None:
        line.error("--exchanges needs a NODE")
    if options.count < 1:
        line.error("--count must be at least 1")

    from rich.console import Console

    from kernelevolve.report import exchanges, graph
    from kernelevolve.report.folder import RunFolder
    from kernelevolve.store.reader import GraphReader

    with closing(GraphReader(*RunFolder(options.folder).graph())) as reader:
        if options.source:
            node = graph.find(reader, options.node)
            print(reader.kernel(node.kernel_id).source, end="")
            return 0
        if options.exchanges:
            asked = exchanges.exchanges_of(RunFolder(options.folder), graph.find(reader, options.node))
            print(json.dumps(exchanges.to_json(asked), indent=2) if options.json else exchanges.to_text(asked))
            return 0
        found: graph.Overview | graph.Neighbourhood
        if options.node is None:
            found = graph.overview(reader, options.count)
        else:
            found = graph.neighbourhood(reader, graph.find(reader, options.node))
    if options.json:
        print(json.dumps(graph.to_json(found), indent=2))
    else:
        Console().print(graph.view(found))
    return 0
