"""python -m rollout"""

from __future__ import annotations

from rollout.cli import make_app
from rollout.project_releases import ProjectReleases

if __name__ == "__main__":
    make_app(ProjectReleases)()
