/**
 * The only module that knows NiiVue: one canvas with a scan, an overlay and a crosshair.
 *
 * Places go in and out as RAS millimetres, so that nothing here depends on how NiiVue orders voxels.
 */

import { cmapper, DRAG_MODE, MULTIPLANAR_TYPE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from '@niivue/niivue'

import { sameGrid, spacingMm, type Triple } from '../pipeline/grid'
import { type Box, boxIn, cropped, croppedGrid, type Space } from './crop'
import { imageBytes } from './image'
import type { Overlay } from './overlay'
import { CROSSHAIR_VOXELS, crosshairVoxels, type Plane } from './places'
import type { Scan } from './exam'

export type Layout = Plane | 'planes' | 'render'

type ColourMap = Parameters<NVImage['setColormapLabel']>[0]

/** Overlays of so few values are labels. */
const FEW = 4

const SLICES: Readonly<Record<Layout, SLICE_TYPE>> = {
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  planes: SLICE_TYPE.MULTIPLANAR,
  render: SLICE_TYPE.RENDER,
}

/** One canvas. */
export class Pane {
  /** Called with a place (RAS mm) when the person moves the crosshair. */
  onMove: (point: Triple) => void = () => undefined
  /** Called with the lowest and highest intensity shown, when the person drags with the right button. */
  onWindow: (low: number, high: number) => void = () => undefined
  /** Called when the graphics give up, as on lack of memory. */
  onLost: () => void = () => undefined

  private overlay: NVImage | null = null
  private drawn = false
  private layout: Layout = 'axial'
  private colours = ''

  private constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly view: Niivue,
    private readonly scan: Scan,
    private readonly box: Box,
  ) {}

  /** Opens the part of a scan that is in a space on a canvas that is in the page. */
  static async open(canvas: HTMLCanvasElement, scan: Scan, space: Space, window: readonly [number, number]): Promise<Pane> {
    const view = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [1, 1, 1, 0.6],
      crosshairWidth: CROSSHAIR_VOXELS,
      crosshairGap: 6,
      dragMode: DRAG_MODE.contrast,
      dragAndDropEnabled: false,
      // Right of the picture is left of the patient, as radiologists look at it.
      isRadiologicalConvention: true,
      isOrientationTextVisible: true,
      isCornerOrientationText: false,
      isSliceMM: true,
      isColorbar: false,
      logLevel: 'error',
      loadingText: '',
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      show3Dcrosshair: true,
      viewModeHotKey: '',
      clipPlaneHotKey: '',
      cycleClipPlaneHotKey: '',
    })
    const box = boxIn(scan.grid, space)
    const pane = new Pane(canvas, view, scan, box)
    canvas.addEventListener('webglcontextlost', () => pane.onLost())
    await view.attachToCanvas(canvas, false)
    view.addVolume(await image(scan.name, croppedGrid(scan.grid, box), cropped(scan.grid, scan.values, box), window))
    view.onLocationChange = (found: unknown) => {
      const { mm } = found as { mm: ArrayLike<number> }
      pane.onMove([mm[0] as number, mm[1] as number, mm[2] as number])
    }
    view.onIntensityChange = (volume: NVImage) => pane.onWindow(volume.cal_min as number, volume.cal_max as number)
    view.setInterpolation(true)
    return pane
  }

  setLayout(layout: Layout): void {
    this.layout = layout
    this.fitCrosshair()
    this.view.setSliceType(SLICES[layout])
  }

  /** Makes the lines of the crosshair as wide as a pixel at least: thinner ones fall between pixels and are not seen. */
  private fitCrosshair(): void {
    const spacing = spacingMm(this.scan.grid)
    const width = crosshairVoxels(
      spacing.map((mm, axis) => mm * ((this.box.end[axis] as number) - (this.box.first[axis] as number))),
      Math.min(...spacing),
      Math.min(this.canvas.width, this.canvas.height) / (this.layout === 'planes' ? 2 : 1),
    )
    if (Math.abs(width - this.view.opts.crosshairWidth) > 0.01) this.view.setCrosshairWidth(width)
  }

  /** Lays another overlay over the scan; null takes it off. */
  async setOverlay(overlay: Overlay | null, opacity: number): Promise<void> {
    if (this.overlay) {
      // In 3-D NiiVue goes on showing what it drew last of an overlay that is gone, where a drawing comes in its place.
      this.overlay.opacity = 0
      this.view.updateGLVolume()
      this.view.removeVolume(this.overlay)
    }
    this.overlay = null
    this.drawn = overlay !== null && this.mayDraw(overlay)
    if (!overlay || this.drawn) {
      if (overlay) this.refresh(overlay)
      this.view.setDrawOpacity(this.drawn ? opacity : 0)
      return
    }
    this.view.setDrawOpacity(0)
    const volume = await image('overlay', overlay.grid, overlay.values, [0, 255])
    this.overlay = volume
    volume.opacity = opacity
    paint(volume, overlay)
    this.view.addVolume(volume)
  }

  /** Takes up new values and colours of the overlay that is there. */
  refresh(overlay: Overlay): void {
    if (this.drawn) this.draw(overlay)
    else if (this.overlay?.img) {
      ;(this.overlay.img as Uint8Array).set(overlay.values)
      paint(this.overlay, overlay)
      this.view.refreshLayers(this.overlay, 1)
    }
    this.view.drawScene()
  }

  /**
   * Few labels on the scan's own grid go into NiiVue's drawing, which it sends to the graphics as it is; any other overlay is resampled
   * to the scan by a pass over every slice, too slow to follow a brush.
   */
  private mayDraw(overlay: Overlay): boolean {
    return overlay.colours.length <= FEW && sameGrid(overlay.grid, this.scan.grid)
  }

  private draw(overlay: Overlay): void {
    const back = this.view.volumes[0]
    const [step, start, dims] = [back?.img2RASstep, back?.img2RASstart, back?.dimsRAS]
    if (!step || !start || !dims) throw new Error('the scan is not laid out')
    const values = cropped(overlay.grid, overlay.values, this.box)
    if (this.view.drawBitmap?.length !== values.length) this.view.createEmptyDrawing()
    const drawing = this.view.drawBitmap as Uint8Array
    const [, width = 0, height = 0, depth = 0] = dims
    const [dx = 0, dy = 0, dz = 0] = step
    const first = start.reduce((sum, one) => sum + one, 0)
    let at = 0
    for (let z = 0; z < depth; z++) {
      for (let y = 0; y < height; y++) {
        let from = first + z * dz + y * dy
        for (let x = 0; x < width; x++, from += dx) drawing[at++] = values[from] as number
      }
    }
    const colours = JSON.stringify(overlay.colours)
    if (colours !== this.colours) {
      this.view.drawLut = cmapper.makeDrawLut(colourMap(overlay))
      this.view.refreshColormaps()
      this.colours = colours
    }
    this.view.refreshDrawing(false)
  }

  setOpacity(opacity: number): void {
    if (this.drawn) this.view.setDrawOpacity(opacity)
    else if (this.overlay) this.view.setOpacity(1, opacity)
  }

  setWindow(low: number, high: number): void {
    const scan = this.view.volumes[0]
    if (!scan) return
    scan.cal_min = low
    scan.cal_max = high
    this.view.updateGLVolume()
  }

  /** Moves the crosshair; tells nobody. */
  moveTo(point: Triple): void {
    this.fitCrosshair()
    this.view.scene.crosshairPos = this.view.mm2frac(point)
    this.view.drawScene()
  }

  /** Returns the place under a point of the canvas (CSS pixels from its corner), RAS mm, and the plane there; null beside the pictures. */
  placeAt(x: number, y: number): { readonly point: Triple; readonly plane: Plane } | null {
    const scale = this.view.uiData.dpr ?? 1
    const [left, top] = [x * scale, y * scale]
    const tile = this.view.screenSlices[this.view.tileIndex(left, top)]
    const plane = tile && ([null, 'axial', 'coronal', 'sagittal'] as const)[[SLICE_TYPE.AXIAL, SLICE_TYPE.CORONAL, SLICE_TYPE.SAGITTAL].indexOf(tile.axCorSag) + 1]
    const fraction = this.view.canvasPos2frac([left, top])
    if (!plane || !fraction || (fraction[0] as number) < 0) return null
    const mm = this.view.frac2mm(fraction)
    return { point: [mm[0] as number, mm[1] as number, mm[2] as number], plane }
  }

  /** Returns a point of the canvas (CSS pixels) where a place is drawn; null where it is not. */
  canvasPoint(point: Triple): readonly [number, number] | null {
    const found = this.view.frac2canvasPos(this.view.mm2frac(point))
    const scale = this.view.uiData.dpr ?? 1
    return found ? [(found[0] as number) / scale, (found[1] as number) / scale] : null
  }

  /** Redraws; the picture is on the canvas until the browser next composes the page. */
  redraw(): void {
    this.view.drawScene()
  }

  close(): void {
    this.view.cleanup()
    this.canvas.getContext('webgl2')?.getExtension('WEBGL_lose_context')?.loseContext()
  }
}

async function image(name: string, grid: Scan['grid'], values: Float32Array | Uint8Array, window: readonly [number, number]): Promise<NVImage> {
  const file = new File([imageBytes(grid, values)], `${name.replace(/[^\w-]/g, '_')}.nii`)
  return NVImage.loadFromFile({ file, name: file.name, colormap: 'gray', cal_min: window[0], cal_max: window[1], trustCalMinMax: true })
}

function paint(volume: NVImage, overlay: Overlay): void {
  volume.setColormapLabel(colourMap(overlay))
}

function colourMap(overlay: Overlay): ColourMap {
  const channel = (n: 0 | 1 | 2 | 3) => overlay.colours.map((colour) => colour[n])
  return { R: channel(0), G: channel(1), B: channel(2), A: channel(3), I: overlay.colours.map((_, value) => value), labels: [] }
}
