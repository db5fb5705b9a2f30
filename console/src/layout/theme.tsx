import { useState } from 'react';
import { Button } from '../ui/button.tsx';
import { ThemeIcon } from '../ui/icons.tsx';

const NEXT = { system: 'light', light: 'dark', dark: 'system' } as const;
type Theme = keyof typeof NEXT;

function current(): Theme {
  const { theme } = document.documentElement.dataset;
  return theme === 'light' || theme === 'dark' ? theme : 'system';
}

/** public/theme.js applies what is stored here before the first paint. */
export function ThemeButton() {
  const [theme, setTheme] = useState(current);
  const change = () => {
    const next = NEXT[theme];
    if (next === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem('rowhook.theme', next);
    } catch {
      // A frame may have no storage. It holds for this page.
    }
    setTheme(next);
  };
  return (
    <Button variant="quiet" isSmall onClick={change}>
      <ThemeIcon />
      <span className="hidden-text">Colours: </span>
      {theme === 'system' ? 'Auto' : theme === 'light' ? 'Light' : 'Dark'}
    </Button>
  );
}
