const SHOWN = 2;

export function EventList({ types }: { types: readonly string[] }) {
  if (types.includes('*')) return <span className="tag">All events</span>;
  const more = types.length - SHOWN;
  return (
    <span className="tags" title={types.join(', ')}>
      {types.slice(0, SHOWN).map((type) => (
        <span key={type} className="tag mono">
          {type}
        </span>
      ))}
      {more > 0 && <span className="muted small">+{more}</span>}
    </span>
  );
}
