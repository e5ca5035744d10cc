// The chosen currencies and range. They are stored in the URL's fragment, so that they can be shared and survive a
// reload.

import { DAY, RANGES } from './ranges.js'

export class UrlState extends EventTarget {
  #form
  /** The radio button for several currencies (Both, All). */
  #several

  constructor(form) {
    super()
    this.#form = form
    this.#several = [...form.currency].at(-1)
    this.#read()
    form.addEventListener('change', () => {
      this.#write()
      this.#changed()
    })
    addEventListener('hashchange', () => {
      this.#read()
      this.#changed()
    })
  }

  get currencies() {
    return this.#form.currency.value.split(',')
  }

  get range() {
    return this.#form.range.value
  }

  /** Disables the choices whose currencies the feed does not have. Shows hidden choices whose currencies the feed
   *  has. */
  setAvailable(currencies) {
    if (currencies.length > 2) {
      const isChosen = this.#several.checked && this.currencies.every((one) => currencies.includes(one))
      if (!isChosen) this.#several.value = currencies.join(',')
      this.#several.nextElementSibling.textContent = 'All'
    }
    for (const input of this.#form.currency) {
      input.disabled = !input.value.split(',').every((one) => currencies.includes(one))
      const label = input.closest('label')
      label.hidden &&= input.disabled
    }
    if ([...this.#form.currency].some((input) => input.checked && input.disabled)) {
      this.#form.currency.value = currencies[0]
      this.#correct()
      this.#changed()
    }
  }

  /** Disables the range of 7 or 30 days if the next shorter range already shows all data that the feed keeps. The
   *  chosen range stays enabled. `oldest` is the beginning of the oldest day that is kept. */
  setOldest(oldest, now) {
    for (const input of this.#form.range) {
      const shorter = { '7d': DAY, '30d': 7 * DAY }[input.value] ?? 0
      input.disabled = shorter > 0 && !input.checked && !(oldest < now - shorter)
      input.closest('label').title = input.disabled ? 'The feed keeps no prices for this range yet.' : ''
    }
  }

  #read() {
    const fragment = new URLSearchParams(location.hash.slice(1))
    const wanted = [...new Set(fragment.get('currency')?.toUpperCase().split(','))].join(',')
    const available = [...this.#form.currency].filter(({ disabled }) => !disabled).map(({ value }) => value)
    if (wanted.includes(',') && wanted.split(',').every((one) => available.includes(one))) this.#several.value = wanted
    this.#form.currency.value = [...this.#form.currency].find(({ value, disabled }) => !disabled && value === wanted)?.value ?? available[0]
    this.#form.range.value = Object.keys(RANGES).find((known) => known === fragment.get('range')) ?? '15m'
    this.#correct()
  }

  /** Replaces a fragment that was not valid, so that it is not shared. A URL without a fragment stays without one. */
  #correct() {
    if (location.hash !== '') this.#write()
  }

  #write() {
    history.replaceState(null, '', `#currency=${this.#form.currency.value}&range=${this.#form.range.value}`)
  }

  #changed() {
    this.dispatchEvent(new Event('change'))
  }
}
