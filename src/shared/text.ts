/** A duration or an age for people: `12 s`, `5 min`, `3 h`, `2 d`. */
export function ageText(seconds: number): string {
  const rounded = Math.max(0, Math.floor(seconds));
  if (rounded < 120) return `${rounded} s`;
  if (rounded < 7_200) return `${Math.floor(rounded / 60)} min`;
  if (rounded < 172_800) return `${Math.floor(rounded / 3_600)} h`;
  return `${Math.floor(rounded / 86_400)} d`;
}

/** `1 event`, `2 events`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

export function events(count: number): string {
  return counted(count, 'event');
}

/** `0-3, 7`. Pure. */
export function ranges(numbers: readonly number[]): string {
  const parts: [number, number][] = [];
  for (const number of numbers) {
    const last = parts.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else parts.push([number, number]);
  }
  return parts.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(', ');
}

/**
 * How a daemon is started again. Where an environment is recorded, daemons run as a service: one that
 * is pasted into a shell would be one more, with the settings and the login of that shell.
 */
export function startRemedy(recorded: string | null): string {
  const usual = 'or where the daemon usually runs; not "rowhook start" in this shell, which has other settings';
  return recorded === null ? 'rowhook start' : `systemctl start rowhook   # ${usual}`;
}
