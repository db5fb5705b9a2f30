import { useAddress } from '../../ui/address.ts';

/** A text that filters. It goes into the address on Enter, and when the field is left. */
export function SearchField({ label, placeholder, name }: { label: string; placeholder: string; name: string }) {
  const { get, set } = useAddress();
  const value = get(name);
  const apply = (text: string) => text.trim() !== value && set({ [name]: text.trim() });
  return (
    <input
      className="input input-small grow"
      type="search"
      aria-label={label}
      placeholder={placeholder}
      key={value}
      defaultValue={value}
      spellCheck={false}
      onBlur={(event) => apply(event.target.value)}
      onKeyDown={(event) => event.key === 'Enter' && apply(event.currentTarget.value)}
    />
  );
}
