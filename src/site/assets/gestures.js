// Zooming and moving the chart: wheel, drag, pinch, keys and buttons.

/** Factor by which one press of a key or a button zooms. */
const STEP = 1.6
/** Factor by which a wheel zooms for each pixel that it scrolls. */
const WHEEL = 1.0016
/** Distance in pixels that a pressed pointer must move sideways to drag the chart. */
const DRAG = 4

export class Gestures {
  #chart
  #viewport
  #crosshair
  #buttons
  /** The last event of each pointer that is pressed. */
  #pressed = new Map()
  #isDragging = false

  constructor(chart, viewport, crosshair, buttons) {
    this.#chart = chart
    this.#viewport = viewport
    this.#crosshair = crosshair
    this.#buttons = buttons
    chart.addEventListener('wheel', (event) => this.#onWheel(event), { passive: false })
    chart.addEventListener('pointerdown', (event) => this.#onDown(event))
    chart.addEventListener('pointermove', (event) => this.#onMove(event))
    for (const type of ['pointerup', 'pointercancel']) chart.addEventListener(type, (event) => this.#onUp(event))
    // Two fingers do not scroll the page.
    chart.addEventListener('touchmove', (event) => { if (event.touches.length > 1) event.preventDefault() }, { passive: false })
    chart.addEventListener('dblclick', () => viewport.reset())
    chart.addEventListener('keydown', (event) => this.#onKey(event))
    buttons.addEventListener('click', ({ target }) => this.#act(target.closest('button')?.value))
    this.show()
  }

  /** Disables the buttons that would change nothing. */
  show() {
    const { isZoomed, isClosest } = this.#viewport
    for (const button of this.#buttons.querySelectorAll('button')) {
      button.ariaDisabled = `${button.value === '+' ? isClosest : !isZoomed}`
    }
    this.#chart.classList.toggle('zoomed', isZoomed)
  }

  /** Acts on a key or a button. Returns false if it has no meaning here. */
  #act(name) {
    // The end of the window keeps its place, so that a live chart stays live.
    if (name === '+' || name === '=') this.#viewport.zoom(1 / STEP)
    else if (name === '-' || name === '_') this.#viewport.zoom(STEP)
    else if (name === '0') this.#viewport.reset()
    else return false
    return true
  }

  #onKey(event) {
    const { key, shiftKey, ctrlKey, metaKey, altKey } = event
    if (ctrlKey || metaKey || altKey) return
    const pan = shiftKey && { ArrowLeft: -0.2, ArrowRight: 0.2 }[key]
    if (pan) this.#viewport.pan(pan)
    else if (!this.#act(key)) return
    event.preventDefault()
  }

  /** Zooms by a vertical wheel and by pinching a touchpad. Moves by a horizontal wheel, or by a vertical one with
   *  Shift. If a turn of the wheel changes nothing, the page scrolls. */
  #onWheel(event) {
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1
    const [x, y] = [event.deltaX * unit, event.deltaY * unit]
    const isSideways = event.shiftKey || Math.abs(x) > Math.abs(y)
    const changed = isSideways
      ? this.#viewport.pan((Math.abs(x) > Math.abs(y) ? x : y) / this.#width)
      : this.#viewport.zoom(WHEEL ** (event.ctrlKey ? 5 * y : y), this.#share(event))
    if (changed || event.ctrlKey) event.preventDefault()
  }

  #onDown(event) {
    if (event.button !== 0) return
    this.#pressed.set(event.pointerId, event)
    this.#isDragging = this.#pressed.size > 1
  }

  #onMove(event) {
    // The chart can miss the `pointerup` of a mouse button that is released outside it.
    if (event.buttons === 0) this.#onUp(event)
    const before = this.#pressed.get(event.pointerId)
    if (before === undefined) return
    const fingers = [...this.#pressed.values()]
    if (!this.#isDragging && (Math.abs(event.clientX - before.clientX) < DRAG || !this.#viewport.isZoomed)) return
    this.#isDragging = true
    this.#chart.setPointerCapture(event.pointerId)
    this.#pressed.set(event.pointerId, event)
    const moved = [...this.#pressed.values()]
    const [middle, distance] = [middleOf(moved), distanceOf(moved)]
    if (fingers.length > 1 && distance > 0) this.#viewport.zoom(distanceOf(fingers) / distance, this.#share({ clientX: middle }))
    this.#viewport.pan((middleOf(fingers) - middle) / this.#width)
    this.#crosshair.hide()
  }

  #onUp(event) {
    this.#pressed.delete(event.pointerId)
    if (this.#pressed.size === 0) this.#isDragging = false
  }

  get #width() {
    return this.#crosshair.width || this.#chart.clientWidth
  }

  /** Place of an event in the window, from 0 to 1. */
  #share({ clientX }) {
    return Math.min(Math.max((clientX - this.#chart.getBoundingClientRect().left) / this.#width, 0), 1)
  }
}

/** The middle of the fingers on the time axis. */
const middleOf = (fingers) => fingers.reduce((sum, { clientX }) => sum + clientX, 0) / fingers.length

/** The distance between the first two fingers. */
const distanceOf = ([one, other]) => (other === undefined ? 0 : Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY))
