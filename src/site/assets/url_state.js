// What is looked at: which currency, over which time. It is kept in the address, to be shared and reloaded.

import { RANGES } from './series.js'

export class Choices extends EventTarget {
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

  /** A feed may have one currency only; then there is nothing to choose. */
  offer(currencies) {
    for (const input of this.#form.currency) input.disabled = !input.value.split(',').every((one) => currencies.includes(one))
    if ([...this.#form.currency].some((input) => input.checked && input.disabled)) {
      this.#form.currency.value = currencies[0]
      this.#correct()
      this.#changed()
    }
  }

  #read() {
    const asked = new URLSearchParams(location.hash.slice(1))
    const offered = [...this.#form.currency].filter(({ disabled }) => !disabled).map(({ value }) => value)
    this.#form.currency.value = offered.find((known) => known === asked.get('currency')?.toUpperCase()) ?? offered[0]
    this.#form.range.value = Object.keys(RANGES).find((known) => known === asked.get('range')) ?? '15m'
    this.#correct()
  }

  /** An address that asks for what there is not would be shared with it. */
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
