// The chart of one currency: a line of ticks, or candles. Several currencies share it as lines of their changes in
// percent.

import { extremes } from './candles.js'
import { axisFormat, formatAmount, formatAxisTime, formatChange, gapReason } from './format.js'
import { domainOf, linear, priceTicks, timeTicks } from './scale.js'

const AXIS_HEIGHT = 26
const TOP_MARGIN = 12
/** Minimum difference between the two ends of the price axis, as a share of the price. */
const MIN_DOMAIN = 0.0004
/** Height of the strip for the gaps of one of several currencies. */
const STRIP_HEIGHT = 10
/** Height of a tag on the price axis. */
const TAG_HEIGHT = 20

export const svg = (name, attributes = {}, ...children) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.append(...children)
  return element
}

/** The coordinates of everything. `model` is `{ from, until, notice, panels }`. `notice` is the text that says why data
 *  is not loaded yet. It is empty if all data is loaded. */
export const layout = (model, width, height) => {
  const isOverlay = model.panels.length > 1
  const measured = model.panels.map(({ base }) => (isOverlay ? (value) => value / base - 1 : (value) => value))
  const ranges = model.panels.flatMap(({ points }, index) => extremes(points)?.map(measured[index]) ?? [])
  const [low, high] = [Math.min(...ranges), Math.max(...ranges)]
  const domain = ranges.length === 0 ? undefined : domainOf(low, high, MIN_DOMAIN * (isOverlay ? 1 : high))
  // Wide enough for the tag.
  const axis = isOverlay ? 112 : 28 + 7.3 * formatAmount(domain === undefined ? 0 : high).length
  const [right, bottom] = [Math.max(width - axis, 1), height - AXIS_HEIGHT]
  const y = domain && linear(...domain, bottom, TOP_MARGIN)
  const panels = model.panels.map((panel, index) => ({ ...panel, y: y && ((value) => y(measured[index](value))) }))
  return { ...model, panels, isOverlay, domain, measured, x: linear(model.from, model.until, 0, right), y, top: TOP_MARGIN, bottom, right, width }
}

/** All elements of the chart except the crosshair. */
export const drawing = (at) => {
  const tags = at.domain === undefined ? [] : tagsOf(at)
  return [
    ...timeAxis(at),
    ...(at.domain === undefined ? [] : priceAxis(at, tags)),
    ...bands(at),
    ...tags.map((tag) => svg('path', { class: `last ${tag.tone}`, d: `M0 ${crisp(tag.place)}H${at.right}` })),
    ...at.panels.flatMap((panel) => market(at, panel)),
    ...(at.notice === '' ? [] : [svg('text', { class: 'note notice', x: at.right / 2, y: at.bottom / 2, 'text-anchor': 'middle' }, at.notice)]),
    ...tags.map((tag) => drawTag(at, tag)),
  ]
}

const timeAxis = ({ from, until, x, top, bottom, right }) => {
  const { ticks, step } = timeTicks(from, until, Math.max(2, right / 90))
  return ticks.filter((t) => x(t) >= 20 && x(t) <= right - 8).flatMap((t) => [
    svg('path', { class: 'grid faint', d: `M${crisp(x(t))} ${top}V${bottom}` }),
    svg('text', { class: 'label', x: x(t), y: bottom + 20, 'text-anchor': 'middle' }, formatAxisTime(t, step, until - from)),
  ])
}

const priceAxis = ({ domain, y, top, bottom, right, isOverlay }, tags) => {
  const { ticks, step } = priceTicks(...domain, Math.max(3, (bottom - top) / 70))
  const format = axisFormat(step, isOverlay)
  return ticks.flatMap((value) => [
    svg('path', { class: 'grid', d: `M0 ${crisp(y(value))}H${right}` }),
    ...(tags.some((tag) => Math.abs(tag.y - y(value)) < TAG_HEIGHT * 0.8) ? []
      : [svg('text', { class: 'label', x: right + 14, y: y(value) + 4 }, format(value))]),
  ])
}

/** The tags of the last prices that are in the domain. They are moved apart if they would overlap. */
const tagsOf = ({ panels, domain, measured, isOverlay, top, bottom }) => {
  const tags = panels.flatMap(({ last, y, tone, fresh, currency }, index) => {
    const value = last?.prices[currency]
    const share = value && measured[index](value)
    if (value === undefined || share < domain[0] || share > domain[1]) return []
    const text = isOverlay ? `${currency} ${formatChange(share)}` : formatAmount(value)
    return [{ place: y(value), y: y(value), text, tone: fresh ? tone : 'old' }]
  })
  tags.sort((one, other) => one.y - other.y)
  for (let i = 1; i < tags.length; i++) tags[i].y = Math.max(tags[i].y, tags[i - 1].y + TAG_HEIGHT + 2)
  const excess = Math.max(0, (tags.at(-1)?.y ?? 0) - bottom)
  for (const tag of tags) tag.y = Math.max(tag.y - excess, top)
  return tags
}

const drawTag = ({ right, width }, { y, text, tone }) => {
  const box = { x: right + 5, y: (y - TAG_HEIGHT / 2).toFixed(1), width: width - right - 5, height: TAG_HEIGHT, rx: 4 }
  return svg('g', { class: `tag ${tone}` }, svg('rect', box), svg('text', { x: right + 14, y: y + 4 }, text))
}

/** The time in which all currencies have a gap is covered over the whole height of the chart. A gap that is not
 *  entirely in such a time has a strip at the bottom. */
const bands = (at) => {
  const shared = merged(at.panels.map(({ gaps }) => gaps).reduce((parts, gaps) => (
    parts.flatMap((part) => gaps.flatMap((gap) => overlap(part, gap)))), at.panels[0]?.gaps ?? []))
  const isCovered = (gap) => shared.some(({ after, before }) => after <= gap.after && before >= gap.before)
  const strips = at.panels.flatMap(({ gaps, tone }, index) => gaps.filter((gap) => !isCovered(gap)).map((gap) =>
    band({ ...at, top: at.bottom - STRIP_HEIGHT * (index + 1), bottom: at.bottom - STRIP_HEIGHT * index }, gap, tone)))
  return [...shared.map((gap) => band(at, gap)), ...strips]
}

/** Merges parts that overlap. */
const merged = (parts) => {
  const all = []
  for (const part of [...parts].sort((one, other) => one.after - other.after)) {
    const last = all.at(-1)
    if (last === undefined || part.after >= last.before) all.push(part)
    else if (part.before > last.before) all[all.length - 1] = { ...last, before: part.before, open: part.open }
  }
  return all
}

const overlap = (part, gap) => {
  const [after, before] = [Math.max(part.after, gap.after), Math.min(part.before, gap.before)]
  return after < before ? [{ ...part, after, before }] : []
}

const band = ({ x, from, until, top, bottom }, gap, tone) => {
  const [left, right] = [x(Math.max(gap.after, from)), x(Math.min(gap.before, until))]
  const width = Math.max(right - left, 3)
  const box = { x: left.toFixed(1), y: top, width: width.toFixed(1), height: bottom - top }
  const lines = (tone === undefined ? wrap(gapReason(gap), width) : []).map((line, index) =>
    svg('text', { class: 'note', x: left + width / 2, y: (top + bottom) / 2 + index * 16, 'text-anchor': 'middle' }, line))
  const name = gap.reason === 'unrecorded' ? 'void' : `gap ${gap.open ? 'open' : ''}`
  return svg('g', { class: `${name} ${tone ?? ''}`, 'data-reason': gap.reason },
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

const market = (at, { points, gaps, y, fresh, tone, last }) => {
  if (points.length === 0) return []
  const marks = points[0].open !== undefined && !at.isOverlay ? candles(at, points, y) : line(at, points, gaps, y)
  const end = { cx: at.x(points.at(-1).t).toFixed(1), cy: y(points.at(-1).value).toFixed(1) }
  const isAtEnd = points[0].open === undefined && points.at(-1).t === last?.id
  // An inner svg clips the part of the curve before the range.
  const [upper, tall, wide] = [at.top - 10, at.bottom - at.top + 10, at.right + 15]
  const frame = svg('svg', { y: upper, width: wide, height: tall, viewBox: `0 ${upper} ${wide} ${tall}` }, ...marks,
    ...(isAtEnd && fresh ? [svg('circle', { class: 'pulse', ...end, r: 4 })] : []),
    ...(isAtEnd ? [svg('circle', { class: 'end', ...end, r: 4 })] : []))
  return [svg('g', { class: `market ${tone} ${fresh ? '' : 'old'}`, 'data-points': points.length }, frame)]
}

/** A price is in force until the next one, so the line has steps. */
const line = (at, points, gaps, y) => {
  const parts = split(points, gaps).map((part) => reduce(part.flatMap((point, index) => {
    const [x, high] = [at.x(point.t).toFixed(1), y(point.value).toFixed(1)]
    const before = index === 0 ? [] : [[x, y(part[index - 1].value).toFixed(1)]]
    return [...before, [x, high], ...(point.end === undefined ? [] : [[at.x(Math.min(point.end, at.until)).toFixed(1), high]])]
  })))
  const d = parts.map((part) => `M${part.join('L')}${part.length === 1 ? 'h0' : ''}`).join('')
  const shade = parts.map((part) => `M${part.join('L')}L${part.at(-1)[0]} ${at.bottom}L${part[0][0]} ${at.bottom}Z`).join('')
  return [...(at.isOverlay ? [] : [svg('path', { class: 'shade', d: shade })]), svg('path', { class: 'curve', d })]
}

/** All candles of one colour are one path. */
const candles = (at, points, y) => {
  const paths = { up: '', down: '' }
  for (const { t, end, open, high, low, value } of points) {
    const slot = at.x(end) - at.x(t)
    const body = Math.max(1, Math.round(Math.min(slot * 0.7, 14)))
    const left = Math.round(at.x(t) + (slot - body) / 2)
    const [upper, lower] = [y(Math.max(open, value)), y(Math.min(open, value))].map(Math.round)
    paths[value < open ? 'down' : 'up'] += `M${left} ${upper}h${body}V${Math.max(lower, upper + 1)}h${-body}Z`
      + `M${left + body / 2} ${y(high).toFixed(1)}V${y(low).toFixed(1)}`
  }
  return Object.entries(paths).map(([tone, d]) => svg('path', { class: `candles ${tone}`, d }))
}

/** Splits a curve at its gaps. A gap that covers at most half of the time between two points does not split it. */
const split = (points, gaps) => {
  const parts = [[points[0]]]
  for (let i = 1; i < points.length; i++) {
    const [from, until] = [points[i - 1].end ?? points[i - 1].t, points[i].t]
    const missing = gaps.map((gap) => Math.min(gap.before, until) - Math.max(gap.after, from))
    if (missing.some((ms) => ms > (until - from) / 2)) parts.push([])
    parts.at(-1).push(points[i])
  }
  return parts
}

/** If there are very many coordinates, only the first, lowest, highest and last of each pixel column are kept. */
const reduce = (coordinates) => {
  if (coordinates.length < 4000) return coordinates
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
