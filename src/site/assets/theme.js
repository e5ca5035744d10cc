// Light, dark, or as the system has it: before the first paint, so that nothing flashes.
{
  const root = document.documentElement
  const stored = () => { try { return localStorage.getItem('btcfeed-theme') } catch { return null } }
  const show = (theme) => {
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme
    else delete root.dataset.theme
  }
  show(stored())
  addEventListener('DOMContentLoaded', () => {
    const form = document.getElementById('theme')
    form.theme.value = root.dataset.theme ?? 'auto'
    form.addEventListener('change', () => {
      show(form.theme.value)
      try { localStorage.setItem('btcfeed-theme', form.theme.value) } catch { /* then only for this visit */ }
    })
  })
}
