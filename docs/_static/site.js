// Code, tables and formulas that are wider than the page scroll: let the keyboard reach these, and no others.
const sizes = new ResizeObserver(entries => {
  for (const {target} of entries)
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
});

for (const element of document.querySelectorAll("pre, .table-wrapper, div.math"))
  sizes.observe(element);
