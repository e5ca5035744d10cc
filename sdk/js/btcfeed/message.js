/** Messages of the format `full`, with every price as text beside the number. */

/**
 * Parses a message, or returns `undefined` if the text is not one. `exact` has the prices as text. A regular expression
 * can find them, because `prices` is a flat object, and no field before it contains arbitrary text.
 */
export function parse(text) {
  try {
    const message = JSON.parse(text)
    if (message.type === 'tick') {
      const [, prices] = /"prices":\{([^}]*)\}/.exec(text)
      const pairs = [...prices.matchAll(/"(\w+)":([^,]+)/g)]
      message.exact = Object.fromEntries(pairs.map(([, currency, price]) => [currency, price]))
    }
    return message
  } catch { return undefined }
}
