// Tabs, copy buttons, search, the active section and "Try it" of the API reference. The page is complete without them.

const all = (selector, within = document) => [...within.querySelectorAll(selector)]

const element = (name, properties = {}) => Object.assign(document.createElement(name), properties)

// ---- Tabs: one language for the whole page ----

function readLanguage() {
  try { return localStorage.getItem('docs.language') } catch { return null }
}

function choose(language) {
  for (const group of all('.samples')) {
    const figures = all('figure', group)
    const chosen = figures.find((figure) => figure.dataset.language === language) ?? figures[0]
    for (const figure of figures) figure.hidden = figure !== chosen
    for (const tab of all('[role=tab]', group)) {
      const isChosen = tab.textContent === chosen.dataset.language
      tab.ariaSelected = isChosen
      tab.tabIndex = isChosen ? 0 : -1
    }
  }
}

function addTabs(group) {
  const tabs = element('div', { className: 'tabs', role: 'tablist', ariaLabel: 'Language' })
  for (const figure of all('figure', group)) {
    const tab = element('button', { type: 'button', role: 'tab', textContent: figure.dataset.language })
    figure.setAttribute('role', 'tabpanel')
    figure.ariaLabel = figure.dataset.language
    tab.onclick = () => {
      // What the reader looks at stays in its place, although other samples change their heights.
      const before = group.getBoundingClientRect().top
      choose(tab.textContent)
      scrollBy(0, group.getBoundingClientRect().top - before)
      try { localStorage.setItem('docs.language', tab.textContent) } catch { /* The choice is not remembered. */ }
    }
    tabs.append(tab)
  }
  tabs.onkeydown = ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key]
    if (!step) return
    const buttons = all('button', tabs)
    const next = buttons.at((buttons.indexOf(document.activeElement) + step) % buttons.length)
    next.click()
    next.focus()
  }
  group.prepend(tabs)
}

// ---- Copy buttons ----

async function copy(text, source) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  // Without TLS, browsers have no `navigator.clipboard`.
  getSelection().selectAllChildren(source)
  if (!document.execCommand('copy')) throw new Error('not allowed')
  getSelection().removeAllRanges()
}

function addCopyButton(figure) {
  const button = element('button', { type: 'button', className: 'copy', textContent: 'Copy' })
  button.onclick = async () => {
    const source = figure.querySelector('code')
    button.textContent = await copy(source.textContent, source).then(() => 'Copied', () => 'Press Ctrl+C')
    setTimeout(() => { button.textContent = 'Copy' }, 2000)
  }
  figure.append(button)
}

// ---- Search ----

const entries = all('.entry').map((entry) => ({ entry, text: `${entry.id} ${entry.textContent}`.toLowerCase() }))
const sections = all('section.tag')
const links = all('.contents a')

function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  let found = 0
  for (const { entry, text } of entries) {
    entry.hidden = !words.every((word) => text.includes(word))
    if (!entry.hidden) found += 1
  }
  for (const section of sections) {
    section.hidden = words.length > 0 && !all('.entry', section).some((entry) => !entry.hidden)
  }
  for (const link of links) {
    const target = document.getElementById(link.hash.slice(1))
    link.parentElement.hidden = Boolean(target?.closest('[hidden]'))
  }
  const count = found === 1 ? '1 entry' : `${found} entries`
  document.getElementById('found').textContent = words.length > 0 ? count : ''
  showActive()
}

function addSearch() {
  const field = document.getElementById('search')
  field.closest('label').hidden = false
  field.oninput = () => search(field.value)
  field.onkeydown = ({ key }) => {
    if (key === 'Escape') search(field.value = '')
    if (key === 'Enter') reveal(entries.find(({ entry }) => !entry.hidden)?.entry)
  }
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.target.matches('input')) return
    event.preventDefault()
    field.focus()
  })
}

// ---- The active section ----

function showActive() {
  // A target that was scrolled to is about 19 px below the upper edge (`scroll-padding-top`).
  const line = 32
  const isAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2
  let active = null
  for (const link of links) {
    const target = document.getElementById(link.hash.slice(1))
    if (!target || target.closest('[hidden]')) continue
    if (active && !isAtEnd && target.getBoundingClientRect().top > line) break
    active = link
  }
  // The end of the page may be too short for its last sections to reach the line.
  const chosen = isAtEnd ? links.find((link) => link.hash === location.hash && isVisible(link.hash)) ?? active : active
  for (const link of links) {
    if (link === chosen) link.setAttribute('aria-current', 'true')
    else link.removeAttribute('aria-current')
  }
  const list = document.querySelector('.contents')
  const [box, around] = [chosen?.getBoundingClientRect(), list.getBoundingClientRect()]
  const isOutside = box && (box.top < around.top || box.bottom > around.bottom)
  if (isOutside) list.scrollTop += box.top - around.top - around.height / 2
}

function isVisible(hash) {
  const box = document.getElementById(hash.slice(1))?.getBoundingClientRect()
  return Boolean(box) && box.top >= 0 && box.top < innerHeight
}

function reveal(target) {
  if (!target) return
  if (target.matches('details')) target.open = true
  target.scrollIntoView()
}

// ---- Try it ----

const LONGEST = 4000
const running = new WeakMap()

async function send(form, show, signal) {
  const { path } = form.dataset
  const query = form.elements.query.value.trim()
  const url = new URL(query ? `${path}?${query}` : path, location.href)
  const key = document.getElementById('key').value.trim()
  if (path === 'v1/ws') {
    url.protocol = url.protocol.replace('http', 'ws')
    if (key) url.searchParams.set('key', key)
    return new Promise((resolve) => {
      const socket = new WebSocket(url)
      signal.addEventListener('abort', () => socket.close())
      socket.onmessage = ({ data }) => show(`${data}\n`)
      socket.onclose = ({ code, reason }) => { show(`closed: ${code} ${reason}\n`); resolve() }
    })
  }
  const answer = await fetch(url, { signal, headers: key ? { Authorization: `Bearer ${key}` } : {} })
  show(`${answer.status} ${answer.statusText}\n`)
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (!show(part.value)) return void reader.cancel()
  }
}

function addForm(form) {
  const [button, output] = [form.querySelector('button'), form.querySelector('output')]
  form.hidden = false
  form.onsubmit = async (event) => {
    event.preventDefault()
    if (running.has(form)) return running.get(form).abort()
    const stop = new AbortController()
    running.set(form, stop)
    button.textContent = 'Stop'
    output.hidden = false
    output.textContent = ''
    const show = (text) => {
      output.textContent += text
      const isFull = output.textContent.length > LONGEST
      if (isFull) {
        output.textContent = `${output.textContent.slice(0, LONGEST)}…`
        stop.abort()
      }
      return !isFull
    }
    await send(form, show, stop.signal).catch((error) => { if (!stop.signal.aborted) show(`${error.message}\n`) })
    running.delete(form)
    button.textContent = 'Try it'
  }
}

for (const group of all('.samples')) addTabs(group)
for (const figure of all('.samples figure')) addCopyButton(figure)
choose(readLanguage())
const keyForm = document.querySelector('form.key')
keyForm.hidden = false
keyForm.onsubmit = (event) => event.preventDefault()
for (const form of all('form.try')) addForm(form)
addSearch()
addEventListener('scroll', showActive, { passive: true })
addEventListener('resize', showActive)
addEventListener('hashchange', () => { reveal(document.getElementById(location.hash.slice(1))); showActive() })
if (location.hash) reveal(document.getElementById(location.hash.slice(1)))
showActive()
