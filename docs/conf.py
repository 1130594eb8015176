"""How the site is built: python tools/build_site.py, or make site. Nothing is run and nothing is fetched."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT)]

project = "tudui_course"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "bilingual",  # these are ours, in docs/_ext
    "docstrings",
    "mathml",
    "notebook_pages",
]
templates_path = ["_templates"]
exclude_patterns = ["**/.ipynb_checkpoints"]
default_role = "code"  # docstrings put names between single backticks
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!tudui_course\.[\w.]+$).*")]  # other libraries' inventories are on the network

nb_execution_mode = "off"  # the stored outputs, which nbval compares
nb_merge_streams = True
myst_enable_extensions = ["deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as a list; autodoc describes the documented ones

html_theme = "furo"
html_title = "tudui_course"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_css_files = ["language.css", "print.css"]
html_js_files = ["search-words.js", "scrolling.js"]  # language.js is in _templates/page.html, for it has to come first
html_use_index = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "language-switch.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_domain_indices = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_search_language = "zh-en"
html_math_renderer = "mathml"
math_numfig = False
fonts = (
    "system-ui, -apple-system, 'Segoe UI', 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', 'Noto Sans SC', "
    "'WenQuanYi Micro Hei', sans-serif"
)
html_theme_options = {
    "light_css_variables": {"font-stack": fonts},
    "navigation_with_keys": False,
    "top_of_page_buttons": [],
}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
