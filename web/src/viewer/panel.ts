/** What is known beside the pictures: volumes, expected Dice, agreement, flags, keys. */

import { voxelMl } from '../pipeline/grid'
import { measure } from '../pipeline/results'
import { text } from '../text/en'
import { make, swatch } from './dom'
import type { Exam, LabelMap } from './exam'
import { AGREEMENT_COLOURS, diceByRegion, labelColour, type PaletteName, REGIONS, valueColour } from './overlay'

/** Returns the panel of an exam, with a second one beside it where there is one; `edited` where a person has changed its label map. */
export function facts(exam: Exam, other: Exam | null, palette: PaletteName, overlay: string, edited = false): HTMLElement {
  const panel = make('div', { className: 'facts' })
  panel.append(make('h2', { textContent: text.volumes }), volumes(exam, other, palette))
  if (overlay.startsWith('agreement')) panel.append(legend())
  if (overlay.startsWith('map')) panel.append(scale())
  for (const one of other ? [exam, other] : [exam]) panel.append(...aboutExam(one, other !== null, edited))
  const keys = text.keyList.flatMap(([key, what]) => [make('dt', { textContent: key }), make('dd', { textContent: what })])
  panel.append(make('details', {}, make('summary', { textContent: text.keys }), make('dl', {}, ...keys)), make('p', { textContent: text.notice }))
  return panel
}

function volumes(exam: Exam, other: Exam | null, palette: PaletteName): HTMLTableElement {
  const first = exam.segmentation ?? exam.reference
  const columns: [string, LabelMap][] = first ? [[other ? exam.title : text.volumeMl, first]] : []
  if (exam.segmentation && exam.reference && !other) columns.push([text.referenceMl, exam.reference])
  const second = other && (other.segmentation ?? other.reference)
  if (second) columns.push([other.title, second])
  const measured = columns.map(([, map]) => measure(map.values, voxelMl(map.grid)))
  const heads = [text.part, ...columns.map(([title]) => title), ...(second ? [text.change] : [])]
  const rows = (measured[0] ?? []).map((amount, n) => {
    const cells = measured.map((one) => one[n]?.volumeMl ?? 0)
    const change = second ? [(cells[1] as number) - (cells[0] as number)] : []
    const [red, green, blue] = labelColour(palette, n + 1)
    const name = make('th', { scope: 'row' }, ...(amount.kind === 'label' ? [swatch(`rgb(${red} ${green} ${blue})`)] : []), amount.kind === 'region' ? `${amount.name}: ${amount.title}` : amount.title)
    const numbers = [...cells.map((ml) => ml.toFixed(2)), ...change.map((ml) => `${ml > 0 ? '+' : ''}${ml.toFixed(2)}`)]
    return make('tr', {}, name, ...numbers.map((number) => make('td', { textContent: number })))
  })
  const head = make('tr', {}, ...heads.map((title) => make('th', { scope: 'col', textContent: title })))
  return make('table', { className: 'volumes' }, make('thead', {}, head), make('tbody', {}, ...rows))
}

/** The colours of a probability or an uncertainty. */
function scale(): HTMLElement {
  const lines = [64, 128, 191, 255].map((value) => {
    const [red, green, blue] = valueColour(value)
    return make('li', {}, swatch(`rgb(${red} ${green} ${blue})`), (value / 255).toFixed(2))
  })
  return make('ul', { className: 'legend' }, ...lines)
}

function legend(): HTMLElement {
  const lines = Object.entries(AGREEMENT_COLOURS).map(([value, [red, green, blue]]) =>
    make('li', {}, swatch(`rgb(${red} ${green} ${blue})`), text.agreementLegend[Number(value)] ?? ''),
  )
  return make('ul', { className: 'legend' }, ...lines)
}

function aboutExam(exam: Exam, titled: boolean, edited: boolean): HTMLElement[] {
  const list = (lines: readonly string[]) => make('ul', {}, ...lines.map((line) => make('li', { textContent: line })))
  const found: HTMLElement[] = titled ? [make('h2', { textContent: exam.title })] : []
  const Heading = titled ? 'h3' : 'h2'
  const heading = (title: string) => make(Heading, { textContent: title })
  if (exam.segmentation && exam.reference) {
    const dice = diceByRegion(exam.segmentation, exam.reference)
    const lines = dice ? REGIONS.map((region) => text.measuredLine(region, dice[region])) : []
    found.push(heading(text.measured), lines.length ? list(lines) : make('p', { textContent: text.otherGrid }))
  }
  if (!exam.segmentation) return found
  const expected = exam.facts.expected.map((one) => text.expectedLine(one.region, one.dice, one.low, one.high))
  found.push(heading(edited ? text.expectedBefore : text.expected), expected.length ? list(expected) : make('p', { textContent: text.notExpected }))
  found.push(heading(text.flags), exam.facts.flags.length ? list(exam.facts.flags) : make('p', { textContent: text.noFlags }))
  if (exam.facts.model) found.push(make('p', { textContent: text.model(exam.facts.model) }))
  return found
}
