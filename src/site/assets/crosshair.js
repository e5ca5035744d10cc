// Reading the curve: the pointer, a finger or the arrow keys choose a point, and a small label says what it is.

import { duration, formatMoment, formatPrice, gapWords } from './format.js'
import { svg } from './chart.js'

export class Crosshair {
  #chart
  #cross
  #tip
  /** The layout that is shown, and the moment that is looked at. */
  #at = null
  #moment = null

  constructor(chart) {
    this.#chart = chart
    this.#cross = chart.querySelector('.cross')
    this.#tip = chart.querySelector('.tip')
    const follow = (event) => {
      if (this.#at === null) return
      const { from, until, right } = this.#at
      const share = (event.clientX - chart.getBoundingClientRect().left) / right
      this.#look(from + Math.min(Math.max(share, 0), 1) * (until - from))
    }
    chart.addEventListener('pointermove', follow)
    chart.addEventListener('pointerdown', follow)
    chart.addEventListener('pointerleave', () => this.#look(null))
    chart.addEventListener('blur', () => this.#look(null))
    chart.addEventListener('keydown', (event) => this.#key(event))
  }

  /** Shows the same moment in a new drawing. */
  show(at) {
    this.#at = at
    this.#draw()
  }

  #look(moment) {
    this.#moment = moment
    this.#draw()
  }

  /** Where the arrow keys stop: at each point, and in each gap. */
  #stops() {
    const [{ points, gaps }] = this.#at.panels
    const shown = [...points.map(({ t }) => t), ...gaps.map((gap) => middle(gap, this.#at))]
    return shown.filter((t) => t >= this.#at.from).sort((one, other) => one - other)
  }

  #key(event) {
    if (this.#at === null) return
    const stops = this.#stops()
    if (stops.length === 0) return
    const last = stops.length - 1
    const page = Math.max(1, Math.round(last / 10))
    // Whoever has not chosen a point yet stands behind the last.
    const here = this.#moment === null ? stops.length : nearest(stops, this.#moment)
    const place = {
      ArrowLeft: here - 1, ArrowDown: here - 1, ArrowRight: here + 1, ArrowUp: here + 1,
      PageDown: here - page, PageUp: here + page, Home: 0, End: last,
    }[event.key]
    if (event.key === 'Escape') this.#look(null)
    if (place === undefined) return
    event.preventDefault()
    const chosen = Math.min(Math.max(place, 0), last)
    this.#look(stops[chosen])
    this.#say(chosen, last)
  }

  /** For those who listen: only what the keys chose, or each movement of the mouse would be read out. */
  #say(place, last) {
    this.#chart.setAttribute('aria-valuemax', last)
    this.#chart.setAttribute('aria-valuenow', place)
    this.#chart.setAttribute('aria-valuetext', [...this.#tip.children].map((line) => line.textContent).join(', '))
  }

  #draw() {
    const at = this.#at
    if (at === null) return
    const read = this.#moment === null || this.#moment < at.from ? null : this.#read()
    this.#tip.hidden = read === null
    if (read === null) return this.#cross.replaceChildren()
    const place = at.x(read.t)
    this.#cross.replaceChildren(
      svg('path', { class: 'hair', d: `M${place.toFixed(1)} ${at.panels[0].top}V${at.bottom}` }),
      ...read.dots.map(({ y }) => svg('circle', { class: 'dot', cx: place.toFixed(1), cy: y.toFixed(1), r: 4.5 })))
    this.#tip.replaceChildren(...read.lines.map(([name, text]) => Object.assign(document.createElement('p'), { className: name, textContent: text })))
    // Beside the line, on the side that has room; at the foot of the panel where it would lie on the curve above, or on the
    // words of a gap.
    const { offsetWidth: width, offsetHeight: height } = this.#tip
    const [{ top, bottom }] = at.panels
    const left = place + 16 + width < at.right ? place + 16 : place - 16 - width
    const isHigh = read.dots.length === 0 || read.dots[0].y < top + height + 16
    const upper = isHigh && bottom - top > 2 * height ? bottom - height - 8 : top + 8
    this.#tip.style.transform = `translate(${Math.max(0, left).toFixed(0)}px, ${upper.toFixed(0)}px)`
  }

  /** What is at the moment that is looked at: a gap, or the point that is nearest. */
  #read() {
    const { panels, until } = this.#at
    const gap = panels.flatMap(({ gaps }) => gaps).find(({ after, before }) => this.#moment > after && this.#moment < before)
    if (gap !== undefined && this.#isNearer(gap)) {
      const end = gap.open ? 'now' : formatMoment(gap.before, until)
      const lines = [
        ['what', gapWords(gap)],
        ['when', `${formatMoment(gap.after, until)} – ${end}, ${duration(gap.before - gap.after)}`],
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

  /** A short gap within a candle does not keep the candle from being read. */
  #isNearer(gap) {
    const { points } = this.#at.panels[0]
    return !points.some(({ t }) => t > gap.after && t < gap.before) && this.#at.x(gap.before) - this.#at.x(gap.after) > 2
  }
}

const middle = (gap, { from, until }) => (Math.max(gap.after, from) + Math.min(gap.before, until)) / 2

/** The place of the number nearest to another, in a sorted list. */
const nearest = (sorted, wanted) => {
  let [low, high] = [0, sorted.length - 1]
  while (high - low > 1) {
    const half = (low + high) >> 1
    if (sorted[half] < wanted) low = half
    else high = half
  }
  return wanted - sorted[low] < sorted[high] - wanted ? low : high
}
