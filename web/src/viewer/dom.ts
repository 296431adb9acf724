/** Making elements of a page. */

/** Returns a new element with properties and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}

/** Returns a menu with its label. */
export function menu(label: string, choices: readonly (readonly [string, string])[], chosen: string, on: (value: string) => void): HTMLLabelElement {
  const select = make('select', {}, ...choices.map(([value, title]) => new Option(title, value, value === chosen, value === chosen)))
  select.addEventListener('change', () => on(select.value))
  return make('label', {}, make('span', { textContent: label }), select)
}

/** Returns a slider or a number field with its label; `on` is called while it moves. */
export function numberField(
  label: string,
  type: 'range' | 'number',
  [value, lowest, highest, step]: readonly [number, number, number, number | 'any'],
  on: (value: number) => void,
): HTMLLabelElement {
  const input = make('input', { type, min: String(lowest), max: String(highest), step: String(step), value: String(value) })
  input.addEventListener('input', () => Number.isFinite(input.valueAsNumber) && on(input.valueAsNumber))
  return make('label', {}, make('span', { textContent: label }), input)
}

/** Returns a button. */
export function button(label: string, on: () => void): HTMLButtonElement {
  const made = make('button', { type: 'button', textContent: label })
  made.addEventListener('click', on)
  return made
}

/** Returns a checkbox with its label, and a patch of colour before the words where one is given. */
export function checkbox(label: string, checked: boolean, on: (checked: boolean) => void, colour?: string): HTMLLabelElement {
  const input = make('input', { type: 'checkbox', checked })
  input.addEventListener('change', () => on(input.checked))
  return make('label', { className: 'check' }, input, ...(colour ? [swatch(colour)] : []), label)
}

/** Returns a patch of colour. */
export function swatch(colour: string): HTMLSpanElement {
  const patch = make('span', { className: 'swatch' })
  patch.style.background = colour
  return patch
}

/** Has the person save a file. */
export function download(name: string, content: Blob): void {
  const link = make('a', { href: URL.createObjectURL(content), download: name })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}
