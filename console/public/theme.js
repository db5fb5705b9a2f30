// Before the first paint, so that a chosen theme does not flash. A file of its own: no inline scripts.
try {
  const theme = localStorage.getItem('rowhook.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // A frame may have no storage. The system's theme holds.
}
