/** A few icons, drawn here: a package of 1,500 would be larger than the console. */
import type { ReactNode } from 'react';

function Icon({ children }: { children: ReactNode }) {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const HookIcon = () => (
  <Icon>
    <path d="M4 5h7M4 9.5h5M13.5 5v6.5a4 4 0 0 1-8 0" />
  </Icon>
);
export const ListIcon = () => (
  <Icon>
    <path d="M7.5 5H17M7.5 10H17M7.5 15H17M3.5 5h.01M3.5 10h.01M3.5 15h.01" />
  </Icon>
);
export const BoltIcon = () => (
  <Icon>
    <path d="M11 2.5 4.5 11H10l-1 6.5L15.5 9H10z" />
  </Icon>
);
export const InboxIcon = () => (
  <Icon>
    <path d="M3 11.5 5 4h10l2 7.5V16H3zM3 11.5h4l1 2h4l1-2h4" />
  </Icon>
);
export const KeyIcon = () => (
  <Icon>
    <circle cx="7" cy="12.5" r="3.5" />
    <path d="M9.5 10 16 3.5M13 6.5l2.5 2.5" />
  </Icon>
);
export const ClockIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="7" />
    <path d="M10 6v4.2l2.8 1.8" />
  </Icon>
);
export const HelpIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="7" />
    <path d="M7.8 8a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.5M10 14h.01" />
  </Icon>
);
export const GaugeIcon = () => (
  <Icon>
    <path d="M3 14a7 7 0 1 1 14 0M10 14l3-5" />
  </Icon>
);
export const BuildingIcon = () => (
  <Icon>
    <path d="M4 17V3h8v14M12 8h4v9M2.5 17h15M7 6.5h2M7 10h2M7 13.5h2" />
  </Icon>
);
export const CopyIcon = () => (
  <Icon>
    <path d="M7 7h9v9H7zM13 7V4H4v9h3" />
  </Icon>
);
export const CheckIcon = () => (
  <Icon>
    <path d="m4 10.5 4 4 8-9" />
  </Icon>
);
export const CrossIcon = () => (
  <Icon>
    <path d="m5 5 10 10M15 5 5 15" />
  </Icon>
);
export const MenuIcon = () => (
  <Icon>
    <path d="M3.5 6h13M3.5 10h13M3.5 14h13" />
  </Icon>
);
export const ThemeIcon = () => (
  <Icon>
    <path d="M16.5 12A7 7 0 0 1 8 3.5a7 7 0 1 0 8.5 8.5z" />
  </Icon>
);
export const SkipIcon = () => (
  <Icon>
    <path d="M5 10h10" />
  </Icon>
);

export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" />
      <path d="M9 9h9M9 15h6M21 9v9a5 5 0 0 1-10 0" />
    </svg>
  );
}
