// The chart: a panel with its own scale for each currency, one below the other, over one time axis.

import { axisFormat, formatTime, gapReason } from './format.js'
import { extremes } from './series.js'
import { linear, priceDomain, priceTicks, timeTicks } from './scale.js'

const AXIS_HEIGHT = 26
const TOP_MARGIN = 10
/** Height of the name above each panel, if there are several. */
const NAME_HEIGHT = 24

export const svg = (name, attributes = {}, ...children) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.append(...children)
  return element
}

/** The coordinates of everything. `model` is `{ from, until, panels: [{ currency, points, gaps, fresh }] }`. */
export const layout = (model, width, height) => {
  const highest = Math.max(0, ...model.panels.flatMap(({ points }) => points.slice(-1).map(({ value }) => value)))
  // Wide enough for the longest label of a price, with its separators and decimals.
  const axis = 24 + 7.2 * Math.round(highest).toLocaleString().length
  const x = linear(model.from, model.until, 0, width - axis)
  const head = model.panels.length > 1 ? NAME_HEIGHT : 0
  const each = (height - AXIS_HEIGHT - TOP_MARGIN) / model.panels.length - head
  const panels = model.panels.map((panel, index) => {
    const top = TOP_MARGIN + head + index * (each + head)
    const bottom = top + each
    const found = extremes(panel.points)
    const domain = found && priceDomain(...found)
    return { ...panel, top, bottom, domain, y: domain && linear(...domain, bottom, top) }
  })
  return { ...model, x, panels, width, height, right: width - axis, bottom: height - AXIS_HEIGHT }
}

/** All elements of the chart except the crosshair. */
export const drawing = (at) => [
  ...timeTicks(at.from, at.until, Math.max(2, at.right / 90)).flatMap((t) => timeMark(at, t)),
  ...at.panels.flatMap((panel) => [
    ...grid(at, panel),
    ...panel.gaps.map((gap) => band(at, panel, gap)),
    ...curve(at, panel),
    ...(at.panels.length > 1 ? [svg('text', { class: 'name', x: 0, y: panel.top - 8 }, panel.currency)] : []),
  ]),
]

const timeMark = ({ x, right, bottom, panels }, t) => {
  const left = x(t)
  if (left < 20 || left > right) return []
  return [
    svg('path', { class: 'grid faint', d: panels.map((panel) => `M${crisp(left)} ${panel.top}V${panel.bottom}`).join('') }),
    svg('text', { class: 'label', x: left, y: bottom + 20, 'text-anchor': 'middle' }, formatTime(t)),
  ]
}

const grid = ({ right }, { domain, y, top, bottom }) => {
  if (domain === undefined) return []
  const { ticks, step } = priceTicks(...domain, Math.max(3, (bottom - top) / 70))
  const format = axisFormat(step)
  return ticks.flatMap((price) => [
    svg('path', { class: 'grid', d: `M0 ${crisp(y(price))}H${right}` }),
    svg('text', { class: 'label', x: right + 14, y: y(price) + 4 }, format.format(price)),
  ])
}

const band = ({ x, from, until }, { top, bottom }, gap) => {
  const [left, right] = [x(Math.max(gap.after, from)), x(Math.min(gap.before, until))]
  const width = Math.max(right - left, 3)
  const box = { x: left.toFixed(1), y: top, width: width.toFixed(1), height: bottom - top }
  const lines = wrap(gapReason(gap), width).map((line, index) =>
    svg('text', { class: 'note', x: left + width / 2, y: top + 18 + index * 16, 'text-anchor': 'middle' }, line))
  return svg('g', { class: `gap ${gap.open ? 'open' : ''}`, 'data-reason': gap.reason },
    svg('rect', { ...box, class: 'veil' }), svg('rect', { ...box, class: 'hatch', fill: 'url(#hatch)' }), ...lines)
}

/** Wraps a text into at most three lines. Returns no lines if it does not fit. */
const wrap = (text, width) => {
  const columns = Math.floor((width - 12) / 6.6)
  const lines = []
  for (const word of text.split(' ')) {
    if (word.length > columns) return []
    const longer = `${lines.at(-1)} ${word}`
    if (lines.length > 0 && longer.length <= columns) lines[lines.length - 1] = longer
    else lines.push(word)
  }
  return lines.length > 3 ? [] : lines
}

const curve = (at, { points, gaps, y, top, bottom, fresh }) => {
  if (points.length === 0) return []
  const parts = split(points, gaps).map((part) => reduce(part, at.x, y))
  const line = parts.map((part) => `M${part.join('L')}${part.length === 1 ? 'h0' : ''}`).join('')
  const shade = parts.map((part) => `M${part.join('L')}L${part.at(-1)[0]} ${bottom}L${part[0][0]} ${bottom}Z`).join('')
  const last = points.at(-1)
  const end = { cx: at.x(last.t).toFixed(1), cy: y(last.value).toFixed(1) }
  // An inner svg clips the part of the curve before the range.
  const [upper, tall, wide] = [top - 15, bottom - top + 15, at.right + 15]
  const frame = svg('svg', { y: upper, width: wide, height: tall, viewBox: `0 ${upper} ${wide} ${tall}` },
    svg('path', { class: 'shade', d: shade, fill: 'url(#shade)' }),
    ...(points[0].high === undefined ? [] : [svg('path', { class: 'spread', d: spread(at, y, points, gaps) })]),
    svg('path', { class: 'curve', d: line }),
    ...(fresh ? [svg('circle', { class: 'pulse', ...end, r: 4 })] : []),
    svg('circle', { class: 'end', ...end, r: 4 }))
  return [svg('g', { class: fresh ? 'market' : 'market old', 'data-points': points.length }, frame)]
}

/** The area between the low and the high of each candle. */
const spread = (at, y, points, gaps) => split(points, gaps).map((part) => {
  const edge = (side) => part.map((point) => [at.x(point.t).toFixed(1), y(point[side]).toFixed(1)])
  return `M${edge('high').join('L')}L${edge('low').reverse().join('L')}Z`
}).join('')

/** Splits a curve at its gaps. A gap that covers at most half of the time between two points does not split it. */
const split = (points, gaps) => {
  const parts = [[points[0]]]
  for (let i = 1; i < points.length; i++) {
    const [from, until] = [points[i - 1].t, points[i].t]
    const missing = gaps.map((gap) => Math.min(gap.before, until) - Math.max(gap.after, from))
    if (missing.some((ms) => ms > (until - from) / 2)) parts.push([])
    parts.at(-1).push(points[i])
  }
  return parts
}

/** The coordinates of points. If there are very many, only the first, lowest, highest and last of each pixel column are kept. */
const reduce = (part, x, y) => {
  const coordinates = part.map((point) => [x(point.t).toFixed(1), y(point.value).toFixed(1)])
  return coordinates.length < 3000 ? coordinates : reduceColumns(coordinates)
}

const reduceColumns = (coordinates) => {
  const kept = []
  let column = []
  const flush = () => {
    const byHeight = column.toSorted((one, other) => one[1] - other[1])
    kept.push(...new Set([column[0], byHeight[0], byHeight.at(-1), column.at(-1)]))
  }
  for (const point of coordinates) {
    if (column.length > 0 && Math.floor(point[0]) !== Math.floor(column[0][0])) {
      flush()
      column = []
    }
    column.push(point)
  }
  flush()
  return kept
}

/** Moves a coordinate to the middle of a pixel, so that a thin line is sharp. */
const crisp = (coordinate) => Math.round(coordinate) + 0.5
