// The crosshair: the pointer, a finger or the arrow keys choose a point of the chart, and a label beside it shows its
// values.

import { svg } from './chart.js'
import { formatChange, formatDuration, formatMoment, formatPrice, gapReason } from './format.js'

/** Distance of the label from the point. */
const DISTANCE = 14

export class Crosshair {
  #chart
  #cross
  #tip
  /** Layout of the chart. */
  #layout = null
  /** Chosen moment, or `null`. */
  #moment = null

  constructor(chart) {
    this.#chart = chart
    this.#cross = chart.querySelector('.cross')
    this.#tip = chart.querySelector('.tip')
    const follow = (event) => {
      if (this.#layout === null) return
      const { from, until, right } = this.#layout
      const share = (event.clientX - chart.getBoundingClientRect().left) / right
      this.#choose(from + Math.min(Math.max(share, 0), 1) * (until - from))
    }
    chart.addEventListener('pointermove', follow)
    chart.addEventListener('pointerdown', follow)
    chart.addEventListener('pointerleave', () => this.hide())
    chart.addEventListener('blur', () => this.hide())
    chart.addEventListener('keydown', (event) => this.#onKey(event))
  }

  /** Width of the drawing in pixels. */
  get width() {
    return this.#layout?.right
  }

  /** Shows the chosen moment in a new layout. */
  show(layout) {
    this.#layout = layout
    this.#draw()
  }

  hide() {
    this.#choose(null)
  }

  #choose(moment) {
    this.#moment = moment
    this.#draw()
  }

  /** Moments at which the arrow keys stop: each point of the first panel, and the middle of each of its gaps, except
   *  `unrecorded` ones. */
  #stops() {
    const { panels: [{ points, gaps }], from, until } = this.#layout
    const recorded = gaps.filter(({ reason }) => reason !== 'unrecorded')
    const shown = [...points.map(middle), ...recorded.map(({ after, before }) => (Math.max(after, from) + Math.min(before, until)) / 2)]
    return shown.filter((t) => t >= from && t <= until).sort((one, other) => one - other)
  }

  #onKey(event) {
    if (event.key === 'Escape') this.hide()
    if (this.#layout === null || event.shiftKey) return
    const stops = this.#stops()
    if (stops.length === 0) return
    const last = stops.length - 1
    const page = Math.max(1, Math.round(last / 10))
    // If no moment is chosen, the keys begin after the last stop.
    const current = this.#moment === null ? stops.length : nearest(stops, this.#moment)
    const wanted = {
      ArrowLeft: current - 1, ArrowDown: current - 1, ArrowRight: current + 1, ArrowUp: current + 1,
      PageDown: current - page, PageUp: current + page, Home: 0, End: last,
    }[event.key]
    if (wanted === undefined) return
    event.preventDefault()
    const chosen = Math.min(Math.max(wanted, 0), last)
    this.#choose(stops[chosen])
    this.#announce(chosen, last)
  }

  /** Sets the value that screen readers read. Only keys change it; otherwise each movement of the pointer would be
   *  read. */
  #announce(index, last) {
    this.#chart.setAttribute('aria-valuemax', last)
    this.#chart.setAttribute('aria-valuenow', index)
    this.#chart.setAttribute('aria-valuetext', [...this.#tip.children].map((line) => line.textContent).join(', '))
  }

  #draw() {
    const layout = this.#layout
    if (layout === null) return
    const { from, until, top, bottom, right } = layout
    const read = this.#moment === null || this.#moment < from || this.#moment > until ? null : this.#read()
    this.#tip.hidden = read === null
    if (read === null) return this.#cross.replaceChildren()
    const x = layout.x(Math.max(read.t, from))
    this.#cross.replaceChildren(
      svg('path', { class: 'hair', d: `M${x.toFixed(1)} ${top}V${bottom}` }),
      ...read.dots.map(({ y, tone }) => svg('circle', { class: `dot ${tone}`, cx: x.toFixed(1), cy: y.toFixed(1), r: 4.5 })))
    this.#tip.replaceChildren(...read.lines.map(([name, text]) => Object.assign(document.createElement('p'), { className: name, textContent: text })))
    // The label is beside the point, on the side that has room.
    const { offsetWidth: width, offsetHeight: height } = this.#tip
    const left = x + DISTANCE + width < right ? x + DISTANCE : x - DISTANCE - width
    const beside = read.dots.length === 0 ? top + 8 : read.dots[0].y - height / 2
    const upper = Math.min(Math.max(beside, 0), bottom - height)
    this.#tip.style.transform = `translate(${Math.max(0, left).toFixed(0)}px, ${upper.toFixed(0)}px)`
  }

  /** Content of the label: the gap at the chosen moment, or the nearest point. */
  #read() {
    const { panels, until, isOverlay } = this.#layout
    const gap = panels.flatMap(({ gaps }) => gaps).find(({ after, before }) => this.#moment > after && this.#moment < before)
    if (gap !== undefined && this.#hasLabel(gap)) return { t: this.#moment, dots: [], lines: this.#describe(gap) }
    const found = panels.filter(({ points }) => points.length > 0).map((panel) => {
      const point = panel.points[nearest(panel.points.map(middle), this.#moment)]
      const price = formatPrice(point.value, panel.currency)
      return { point, panel, text: isOverlay ? `${price} (${formatChange(point.value / panel.base - 1)})` : price }
    })
    if (found.length === 0) return null
    const [{ point, panel: { currency } }] = found
    const lines = found.map(({ text }) => ['what', text])
    if (point.open !== undefined && !isOverlay) {
      const [open, high, low] = [point.open, point.high, point.low].map((value) => formatPrice(value, currency))
      lines.push(['when', `Open ${open}`], ['when', `High ${high}`], ['when', `Low ${low}`])
    }
    const end = point.end === undefined ? '' : ` – ${formatMoment(Math.min(point.end, until), until)}`
    lines.push(['when', formatMoment(point.t, until) + end])
    return { t: middle(point), dots: found.map(({ point, panel: { y, tone } }) => ({ y: y(point.value), tone })), lines }
  }

  #describe(gap) {
    const { until } = this.#layout
    const end = gap.open ? 'now' : formatMoment(gap.before, until)
    return [
      ['what', gapReason(gap)],
      ['when', `${formatMoment(gap.after, until)} – ${end}, ${formatDuration(gap.before - gap.after)}`],
      ...(gap.why === undefined ? [] : [['why', gap.why]]),
    ]
  }

  /** True if the label shows a gap. The label shows the nearest point instead if the gap is at most two pixels wide, or
   *  if the first panel has points in it. */
  #hasLabel(gap) {
    const { x, panels: [{ points }] } = this.#layout
    return !points.some((point) => middle(point) > gap.after && middle(point) < gap.before) && x(gap.before) - x(gap.after) > 2
  }
}

/** The moment of a tick, or the middle of a candle. */
const middle = ({ t, end = t }) => (t + end) / 2

/** The index of the number nearest to `wanted` in a sorted list. */
const nearest = (sorted, wanted) => {
  let [low, high] = [0, sorted.length - 1]
  while (high - low > 1) {
    const half = (low + high) >> 1
    if (sorted[half] < wanted) low = half
    else high = half
  }
  return wanted - sorted[low] < sorted[high] - wanted ? low : high
}
