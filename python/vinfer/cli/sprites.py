"""`vinfer sprites`: write synthetic pictures and clips whose relations are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vinfer.cli.console import JsonOption, counted, print_json, print_line, print_table
from vinfer.cli.progress import counting

if TYPE_CHECKING:
    from vinfer.training.sprites import SpriteStatistics

EXAMPLE = "Example: vinfer sprites out/ --stills 100 --clips 3"


def sprites(
    output: Annotated[Path, typer.Argument(help="Folder to write to.")],
    stills: Annotated[int, typer.Option(min=0, help="Number of still pictures.")] = 0,
    clips: Annotated[int, typer.Option(min=0, help="Number of clips.")] = 0,
    seed: Annotated[
        int, typer.Option(min=0, help="Equal seeds give equal pictures; clips count on from it.")
    ] = 0,
    frames: Annotated[int, typer.Option(help="Frames of a clip.")] = 60,
    cuts: Annotated[int, typer.Option(help="Hard cuts of a clip.")] = 0,
    noise: Annotated[int, typer.Option(help="Amplitude of camera noise, 0 to 64.")] = 8,
    blur: Annotated[int, typer.Option(help="Passes of blur, 0 to 8.")] = 0,
    occlusion: Annotated[bool, typer.Option(help="Put a bar in front of objects.")] = False,
    lossless: Annotated[bool, typer.Option(help="Code clips without loss, as RGB.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write synthetic stills and clips with every relation known, and count what is in them."""
    from vinfer.errors import ConfigError
    from vinfer.training.sprites import make_clip, make_sprite_data, sprite_statistics
    from vinfer.training.sprites import write_clip as write_to
    from vinfer.training.sprites import write_stills as write_all

    if not stills and not clips:
        raise ConfigError("found neither --stills nor --clips, expected a number of at least one")
    document: dict[str, Any] = {"output": str(output), "seed": seed}
    if stills:
        data = make_sprite_data(stills, seed, noise=noise, blur=blur, occlusion=occlusion)
        with counting("pictures") as update:
            write_all(data, output, update)
        statistics = sprite_statistics(data)
        document["stills"] = statistics.to_dict()
        if not as_json:
            _print_statistics(statistics)
    written: list[dict[str, Any]] = []
    with counting("clips") as update:
        for number in range(clips):
            clip = make_clip(
                seed + number,
                num_frames=frames,
                num_cuts=cuts,
                noise=noise,
                blur=blur,
                occlusion=occlusion,
            )
            path = output / "clips" / f"sprites-{seed + number}.mp4"
            write_to(clip, path, lossless=lossless)
            written.append({"path": str(path), "frames": len(clip), "events": len(clip.events)})
            update(number + 1, clips)
    if clips:
        document["clips"] = written
    if as_json:
        print_json(document)
        return
    for line in written:
        events = counted(line["events"], "true event")
        print_line(f"{line['path']}: {line['frames']} frames, {events}")


def _print_statistics(statistics: SpriteStatistics) -> None:
    rows = [
        (name, str(count), str(statistics.units[name]), str(statistics.twins.get(name, "-")))
        for name, count in statistics.relations.items()
    ]
    print_table("Relations", ("predicate", "relations", "units", "twins"), rows, numeric=3)
    print_line(
        f"{counted(statistics.num_pictures, 'picture')}, {statistics.num_objects} objects, "
        f"{statistics.num_pairs} ordered pairs, {100 * statistics.unrelated_share:.1f} % of them "
        "unrelated"
    )
