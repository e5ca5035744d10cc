// The line of HTML that shows the price on another page.

/** Shows the line for a currency. */
export function showSnippet(field, currency) {
  const url = new URL(`../embed#currency=${currency}`, import.meta.url)
  const line = `<iframe src="${url}" title="Bitcoin price in ${currency}" width="360" height="150" loading="lazy" style="border:0"></iframe>`
  if (field.value !== line) field.value = line
}

/** Selects the line and copies it. Returns false if the browser does not allow the copy. The user can then copy the
 *  selected line with the keyboard. */
export async function copySnippet(field) {
  field.select()
  try {
    await navigator.clipboard.writeText(field.value)
    return true
  } catch {
    // A page without TLS has no `navigator.clipboard`. Then the older `execCommand` is tried.
    return document.execCommand('copy')
  }
}
