// The default theme with the fonts of the system, so that no font is loaded.

import DefaultTheme from 'vitepress/theme-without-fonts';
import './style.css';

export default DefaultTheme;
