// The crosshair: the pointer, a finger or the arrow keys choose a point of the chart, and a label shows its values.

import { svg } from './chart.js'
import { formatDuration, formatMoment, formatPrice, gapReason } from './format.js'

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
    chart.addEventListener('pointerleave', () => this.#choose(null))
    chart.addEventListener('blur', () => this.#choose(null))
    chart.addEventListener('keydown', (event) => this.#onKey(event))
  }

  /** Shows the chosen moment in a new layout. */
  show(layout) {
    this.#layout = layout
    this.#draw()
  }

  #choose(moment) {
    this.#moment = moment
    this.#draw()
  }

  /** Moments at which the arrow keys stop: each point of the first panel, and the middle of each of its gaps. */
  #stops() {
    const [{ points, gaps }] = this.#layout.panels
    const shown = [...points.map(({ t }) => t), ...gaps.map((gap) => middle(gap, this.#layout))]
    return shown.filter((t) => t >= this.#layout.from).sort((one, other) => one - other)
  }

  #onKey(event) {
    if (this.#layout === null) return
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
    if (event.key === 'Escape') this.#choose(null)
    if (wanted === undefined) return
    event.preventDefault()
    const chosen = Math.min(Math.max(wanted, 0), last)
    this.#choose(stops[chosen])
    this.#announce(chosen, last)
  }

  /** Sets the value that screen readers read. Only keys change it; otherwise each movement of the pointer would be read. */
  #announce(index, last) {
    this.#chart.setAttribute('aria-valuemax', last)
    this.#chart.setAttribute('aria-valuenow', index)
    this.#chart.setAttribute('aria-valuetext', [...this.#tip.children].map((line) => line.textContent).join(', '))
  }

  #draw() {
    const layout = this.#layout
    if (layout === null) return
    const read = this.#moment === null || this.#moment < layout.from ? null : this.#read()
    this.#tip.hidden = read === null
    if (read === null) return this.#cross.replaceChildren()
    const x = layout.x(read.t)
    this.#cross.replaceChildren(
      svg('path', { class: 'hair', d: `M${x.toFixed(1)} ${layout.panels[0].top}V${layout.bottom}` }),
      ...read.dots.map(({ y }) => svg('circle', { class: 'dot', cx: x.toFixed(1), cy: y.toFixed(1), r: 4.5 })))
    this.#tip.replaceChildren(...read.lines.map(([name, text]) => Object.assign(document.createElement('p'), { className: name, textContent: text })))
    // The label is beside the line, on the side that has room. It is at the top of the panel, or at the bottom if it
    // would cover the curve or the text of a gap there.
    const { offsetWidth: width, offsetHeight: height } = this.#tip
    const [{ top, bottom }] = layout.panels
    const left = x + 16 + width < layout.right ? x + 16 : x - 16 - width
    const isHigh = read.dots.length === 0 || read.dots[0].y < top + height + 16
    const upper = isHigh && bottom - top > 2 * height ? bottom - height - 8 : top + 8
    this.#tip.style.transform = `translate(${Math.max(0, left).toFixed(0)}px, ${upper.toFixed(0)}px)`
  }

  /** Content of the label: the gap at the chosen moment, or the nearest point. */
  #read() {
    const { panels, until } = this.#layout
    const gap = panels.flatMap(({ gaps }) => gaps).find(({ after, before }) => this.#moment > after && this.#moment < before)
    if (gap !== undefined && this.#hasLabel(gap)) {
      const end = gap.open ? 'now' : formatMoment(gap.before, until)
      const lines = [
        ['what', gapReason(gap)],
        ['when', `${formatMoment(gap.after, until)} – ${end}, ${formatDuration(gap.before - gap.after)}`],
        ...(gap.why === undefined ? [] : [['why', gap.why]]),
      ]
      return { t: this.#moment, dots: [], lines }
    }
    const found = panels.filter(({ points }) => points.length > 0).map(({ currency, points, y }) => {
      const point = points[nearest(points.map(({ t }) => t), this.#moment)]
      return { t: point.t, y: y(point.value), line: ['what', formatPrice(point.value, currency)] }
    })
    if (found.length === 0) return null
    const { t } = found[0]
    return { t, dots: found, lines: [...found.map(({ line }) => line), ['when', formatMoment(t, until)]] }
  }

  /** True if the label shows a gap. The label shows the nearest point instead if the gap is at most two pixels wide, or
   *  if the first panel has points in it. */
  #hasLabel(gap) {
    const { points } = this.#layout.panels[0]
    return !points.some(({ t }) => t > gap.after && t < gap.before) && this.#layout.x(gap.before) - this.#layout.x(gap.after) > 2
  }
}

const middle = (gap, { from, until }) => (Math.max(gap.after, from) + Math.min(gap.before, until)) / 2

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
