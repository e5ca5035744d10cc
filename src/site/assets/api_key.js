// The API key of the visitor, if the feed needs one. It comes in the fragment of the page's URL (`#key=btcfeed_…`),
// which no browser sends to a server. It is removed from there, so that it is not shared, and kept until the tab is
// closed.

const STORED = 'btcfeed-key'

function take() {
  const fragment = new URLSearchParams(location.hash.slice(1))
  const given = fragment.get('key')
  if (given === null) return sessionStorage.getItem(STORED) ?? undefined
  sessionStorage.setItem(STORED, given)
  fragment.delete('key')
  history.replaceState(null, '', fragment.size > 0 ? `#${fragment}` : location.pathname)
  return given
}

export const key = take()
