// The chart as a table, for people who cannot see it, and for copying.

import { joined } from './candles.js'
import { formatDuration, formatMoment, formatPrice, gapReason } from './format.js'
import { element } from './write.js'

const MAX_ROWS = 30
const STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400].map((seconds) => seconds * 1000)

/** Renders what the chart shows, newest first, with one row for each interval of equal length and one for each gap. */
export function renderTable(table, { panels, from, until }) {
  const step = STEPS.find((candidate) => (until - from) / candidate <= MAX_ROWS) ?? STEPS.at(-1)
  const several = panels.length > 1
  const heads = ['Time', ...panels.flatMap(({ currency }) => (several ? [currency] : ['First', 'High', 'Low', 'Last']))]
  const rows = new Map()
  panels.forEach(({ points, currency }, index) => {
    for (const { t, open, high, low, value } of joined(points.filter(({ t }) => t >= from), step)) {
      const cells = (several ? [value] : [open, high, low, value]).map((each) => formatPrice(each, currency))
      const row = rows.get(t) ?? Array(heads.length - 1).fill('–')
      row.splice(index * cells.length, cells.length, ...cells)
      rows.set(t, row)
    }
  })
  const prices = [...rows].map(([t, cells]) => ({ t, cells: [formatMoment(t, until), ...cells] }))
  const gaps = panels.flatMap(({ gaps, currency }) => gaps.map((gap) => ({ t: Math.max(gap.after, from), cells: [formatMoment(Math.max(gap.after, from), until),
    `${several ? `${currency}: ` : ''}${gapReason(gap)} (${formatDuration(gap.before - Math.max(gap.after, from))})`] })))
  const all = [...prices, ...gaps].sort((one, other) => other.t - one.t)
  table.tHead.replaceChildren(element('tr', '', ...heads.map((text) => Object.assign(element('th', '', text), { scope: 'col' }))))
  table.tBodies[0].replaceChildren(...all.map(({ cells: [time, ...cells] }) => {
    const row = element('tr', '', Object.assign(element('th', '', time), { scope: 'row' }), ...cells.map((text) => element('td', '', text)))
    if (cells.length < heads.length - 1) row.cells[1].colSpan = heads.length - 1
    return row
  }))
}
