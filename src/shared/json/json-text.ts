/** JSON texts that stay as they are within a larger JSON text. It also runs in browsers. */

/**
 * A JSON text that goes into a larger one unchanged. JSON.parse would change numbers, and the order
 * of keys that are numbers.
 */
export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** As JSON.stringify, with each JsonText as its text, and each bigint with all of its digits. */
export function toJson(value: unknown): string {
  const texts: string[] = [];
  // No value of ours holds this mark, which is new for each text.
  const mark = `\u0001${Math.random().toString(36).slice(2)}:`;
  const place = (text: string) => `${mark}${texts.push(text) - 1}`;
  const json = JSON.stringify(value, (_, each) => {
    if (each instanceof JsonText) return place(each.text);
    return typeof each === 'bigint' ? place(String(each)) : each;
  });
  if (texts.length === 0) return json;
  const escaped = JSON.stringify(mark).slice(1, -1).replaceAll('\\', '\\\\');
  return json.replace(new RegExp(`"${escaped}(\\d+)"`, 'g'), (_, index) => texts[Number(index)] as string);
}
