// The chosen currencies and range. They are stored in the URL's fragment, so that they can be shared and survive a
// reload.

import { RANGES } from './series.js'

export class UrlState extends EventTarget {
  #form

  constructor(form) {
    super()
    this.#form = form
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

  /** Disables the choices whose currencies the feed does not have. Shows hidden choices whose currencies the feed has. */
  setAvailable(currencies) {
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

  #read() {
    const fragment = new URLSearchParams(location.hash.slice(1))
    const available = [...this.#form.currency].filter(({ disabled }) => !disabled).map(({ value }) => value)
    this.#form.currency.value = available.find((known) => known === fragment.get('currency')?.toUpperCase()) ?? available[0]
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
