// Changes of the page's text, and new elements.

/** Sets a text only if it has changed, so that screen readers do not repeat it and a selection is kept. */
export const write = (element, text) => {
  if (element.textContent !== text) element.textContent = text
}

/** An element with a class, and with a text or children. */
export const element = (name, className, ...children) => {
  const made = document.createElement(name)
  if (className) made.className = className
  made.append(...children)
  return made
}
