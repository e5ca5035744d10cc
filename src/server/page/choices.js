// What is looked at: which currency, over which time. It is kept in the address, to be shared and reloaded.

import { RANGES } from './series.js'

const CURRENCIES = ['USD', 'EUR', 'USD,EUR']

export class Choices extends EventTarget {
  #form

  constructor(form) {
    super()
    this.#form = form
    this.#read()
    form.addEventListener('change', () => {
      history.replaceState(null, '', `#currency=${form.currency.value}&range=${form.range.value}`)
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
      this.#changed()
    }
  }

  #read() {
    const asked = new URLSearchParams(location.hash.slice(1))
    this.#form.currency.value = CURRENCIES.find((known) => known === asked.get('currency')?.toUpperCase()) ?? 'USD'
    this.#form.range.value = Object.keys(RANGES).find((known) => known === asked.get('range')) ?? '15m'
  }

  #changed() {
    this.dispatchEvent(new Event('change'))
  }
}
