// What scrolls sideways can be reached with the keyboard, and so scrolled with its arrows.
(() => {
  "use strict";
  function mark() {
    for (const box of document.querySelectorAll("article :is(pre, .table-wrapper, .cell_output, .math-block)")) {
      box.toggleAttribute("tabindex", false);
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    }
  }
  addEventListener("load", mark);
  addEventListener("resize", mark);
  addEventListener("languageshown", mark);
})();
