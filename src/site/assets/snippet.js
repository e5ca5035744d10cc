// The line of HTML that shows the price on another page.

/** Shows the line for a currency. */
export function showSnippet(field, currency) {
  const url = new URL(`../embed#currency=${currency}`, import.meta.url)
  const line = `<iframe src="${url}" title="Bitcoin price in ${currency}" width="360" height="150" loading="lazy" style="border:0"></iframe>`
  if (field.value !== line) field.value = line
}

/** Copies the line. Returns false if the browser does not allow it; then the line is selected, so that keys can copy
 *  it. */
export async function copySnippet(field) {
  field.select()
  try {
    await navigator.clipboard.writeText(field.value)
    return true
  } catch {
    // Without TLS there is no clipboard.
    return document.execCommand('copy')
  }
}
