// Theme: light, dark, or that of the system. Runs before the first paint, so that the page does not flash.
{
  const root = document.documentElement
  const stored = () => { try { return localStorage.getItem('btcfeed-theme') } catch { return null } }
  const apply = (theme) => {
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme
    else delete root.dataset.theme
  }
  apply(stored())
  addEventListener('DOMContentLoaded', () => {
    const form = document.getElementById('theme')
    form.theme.value = root.dataset.theme ?? 'auto'
    form.addEventListener('change', () => {
      apply(form.theme.value)
      try { localStorage.setItem('btcfeed-theme', form.theme.value) } catch { /* The choice lasts for this visit only. */ }
    })
  })
}
