// The API key of the visitor, if the feed needs one. It comes in the fragment of the page's URL (`#key=btcfeed_…`),
// which no browser sends to a server. The key is removed from the URL, so that a shared link does not contain it. The
// tab keeps the key until it is closed.

const STORED = 'btcfeed-key'

/** Calls `access` with the storage of the tab. If that is blocked, the key is lost when the page is left. */
function withStorage(access) {
  try {
    return access(sessionStorage)
  } catch {
    return undefined
  }
}

function take() {
  const fragment = new URLSearchParams(location.hash.slice(1))
  const given = fragment.get('key')?.trim()
  if (given === undefined) return withStorage((storage) => storage.getItem(STORED)) ?? undefined
  // A key that no header can have is no key.
  const key = /^[!-~]+$/.test(given) ? given : undefined
  withStorage((storage) => (key === undefined ? storage.removeItem(STORED) : storage.setItem(STORED, key)))
  fragment.delete('key')
  history.replaceState(null, '', fragment.size > 0 ? `#${fragment}` : location.pathname)
  return key
}

export const key = take()
