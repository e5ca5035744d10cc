// What the first paint needs: the theme (light, dark, or that of the system), and room for the prices.
{
  const root = document.documentElement
  const fragment = new URLSearchParams(location.hash.slice(1))
  const chosen = new Set(fragment.get('currency')?.split(','))
  root.style.setProperty('--quotes', Math.max(chosen.size, 1))
  root.toggleAttribute('data-several', chosen.size > 1)
  const stored = () => { try { return localStorage.getItem('btcfeed-theme') } catch { return null } }
  const apply = (theme) => {
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme
    else delete root.dataset.theme
  }
  apply(fragment.get('theme') ?? stored())
  addEventListener('DOMContentLoaded', () => {
    const form = document.getElementById('theme')
    if (form === null) return
    form.theme.value = root.dataset.theme ?? 'auto'
    form.addEventListener('change', () => {
      apply(form.theme.value)
      try { localStorage.setItem('btcfeed-theme', form.theme.value) } catch { /* The choice lasts for this visit only. */ }
    })
  })
}
