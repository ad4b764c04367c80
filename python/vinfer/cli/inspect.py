"""`vinfer inspect`: what is in a bundle."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vinfer.cli.console import JsonOption, print_json, print_line, print_table

EXAMPLE = "Example: vinfer inspect relation-prior"

# The rest of a manifest is long lists; --json has everything.
_SHOWN = (
    *("task", "version", "licence", "detector", "preprocess", "decode", "nms"),
    *("picture", "input_roles", "allowed_precisions", "quality"),
)


def inspect(
    bundle: Annotated[str, typer.Argument(help="Name or path of a bundle.")],
    as_json: JsonOption = False,
) -> None:
    """Show what a bundle is: task, labels, graph, files, licence, measured quality, card.

    Its schema, sizes and hashes are checked first.
    """
    from vinfer.bundles import Bundle, describe_bundle, find_bundle

    facts = describe_bundle(Bundle.open(find_bundle(bundle)))
    if as_json:
        print_json(facts)
    else:
        _print_facts(facts)


def _print_facts(facts: dict[str, Any]) -> None:
    manifest = facts["manifest"]
    rows = [("path", facts["path"]), ("digest", facts["digest"]), ("size", _size(facts["size"]))]
    rows += [(key, _text(manifest[key])) for key in _SHOWN if key in manifest]
    rows += [(key, _text(value)) for key, value in manifest["provenance"].items() if value]
    for key in ("labels", "predicates"):
        if key in manifest:
            rows.append((f"{len(manifest[key])} {key}", ", ".join(manifest[key])))
    print_table(facts["identity"], ("what", "value"), rows)
    if "events" in manifest:
        names = ("on", "off", "min_peak", "min_duration", "merge_gap", "max_missing")
        print_table(
            "Events",
            ("predicate", *names),
            [(p, *(f"{t[n]:g}" for n in names)) for p, t in manifest["events"].items()],
            numeric=len(names),
        )
    graph = facts["graph"]
    tensors = [
        (kind[:-1], t["name"], t["dtype"], "x".join(map(str, t["shape"])))
        for kind in ("inputs", "outputs")
        for t in graph[kind]
    ]
    print_table(f"Graph {graph['name']}", ("", "tensor", "dtype", "shape"), tensors)
    rest = [(k, _text(v)) for k, v in graph.items() if k not in {"name", "inputs", "outputs"}]
    print_table("", ("graph", "value"), rest)
    files = [(f["name"], f["sha256"][:16] + "…", _size(f["size"])) for f in facts["files"]]
    print_table("Files, hashes checked", ("file", "sha256", "size"), files, numeric=1)
    print_line("")
    print_line(facts["card"].rstrip())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "x".join(map(str, value))
    return str(value)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.2f} MB" if num_bytes >= 1e4 else f"{num_bytes} bytes"
