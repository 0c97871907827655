"""Build the site from the repository's own tree, so that links lead where they lead on GitHub."""

import re
import subprocess
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

LIST = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
# The Markdown in transfer/ is a template.
SHOWN = ("*.md", "*.png", "*.webp", "benchmarks/*.json", "LICENSE", ":!transfer")
MERMAID = re.compile(r"^```mermaid\n.*?^```\n", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs/ by the pages and pictures of the whole repository.

    Args:
        files: Those of docs/, and those of the theme.
        config: Its file is at the top of the repository.
    """
    root = Path(config.config_file_path).parent
    listed = subprocess.check_output([*LIST, "--", *SHOWN], cwd=root, text=True)
    ours = [File.generated(config, name, abs_src_path=str(root / name)) for name in listed.split()]
    return Files([file for file in files if file.src_dir != config.docs_dir] + ours)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Leave diagrams out: a browser would fetch their renderer from elsewhere.

    Args:
        markdown: Of a page.
    """
    return MERMAID.sub("", markdown)
