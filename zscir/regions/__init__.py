"""Where a noun is in an image, and the image with the rest of it masked (chapter 3)."""

from zscir.regions.maps import encode_with_cams, noun_cams
from zscir.regions.masks import encode_masked, encode_regions, keep_mask, mask_image
