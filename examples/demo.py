"""The main job in one go: oracle, learned and random agents in furnished houses, with videos and results.

    python examples/demo.py --out demo [--scene house.glb]

It runs the commands that it prints; each can be given alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pomagym.main import main as pomagym


def run(line: list[str]) -> None:
    """Show one command line and run it; a failure ends the demo with its exit code."""
    print("\n$ pomagym " + " ".join(line), flush=True)
    code = pomagym(line)
    if code:
        sys.exit(code)


def demo(out: Path, scenes: dict[str, str], episodes: int) -> list[Path]:
    """Run the oracle, the shipped policy and the random agent on every scene; return the folder of each scene."""
    for name, scene in scenes.items():
        for policy in ("oracle", "pointnav-mini", "random"):
            line = ["run", "--scene", scene, "--episodes", str(episodes), "--policy", policy, "--size", "112"]
            line += ["--max-steps", "250", "--videos", "1", "--out", str(out / name / policy), "--overwrite"]
            run([*line, "--recording"] if policy == "oracle" else line)
        run(["view", str(out / name / "oracle")])
    return [out / name for name in scenes]


def main() -> None:
    """Parse the flags, run the demo, name what it wrote."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for everything (default: demo)"
    )
    parser.add_argument("--scene", help="a mesh file to run on beside the procedural houses")
    parser.add_argument(
        "--episodes", type=int, default=6, help="episodes for each scene and policy (default: 6)"
    )
    arguments = parser.parse_args()
    began = time.perf_counter()
    scenes = {"houses": "procedural:val:3"}
    if arguments.scene:
        scenes[Path(arguments.scene).stem] = arguments.scene
    folders = demo(arguments.out, scenes, arguments.episodes)
    print(f"\nDone in {time.perf_counter() - began:.0f} s. It wrote")
    written = {
        "page": "*/index.html",
        "video": "*/videos/*.mp4",
        "recording": "*/*.rrd",
        "results": "*/summary.json",
    }
    for folder in folders:
        for what, pattern in written.items():
            for path in sorted(folder.glob(pattern)):
                print(f"  {what:<10} {path}")
    print("Open a page in a browser, a recording with `.venv/bin/rerun FILE.rrd`.")


if __name__ == "__main__":
    main()
