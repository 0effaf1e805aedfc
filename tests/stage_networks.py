"""Small classifiers of many backbone families: (backbone, image size, neck, the head's width or whole config)."""

from mmpretrain.registry import MODELS
from torch import nn

GAP = dict(type='GlobalAveragePooling')
VIT = dict(embed_dims=24, num_layers=8, num_heads=2, feedforward_channels=48)
VIT_HEAD = dict(type='VisionTransformerClsHead', in_channels=24)
SWIN = dict(embed_dims=12, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 2])
HRNET = dict(
    stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(1,), num_channels=(8,)),
    stage2=dict(num_modules=1, num_branches=2, block='BASIC', num_blocks=(1, 1), num_channels=(4, 8)),
    stage3=dict(num_modules=1, num_branches=3, block='BASIC', num_blocks=(1, 1, 1), num_channels=(4, 8, 16)),
    stage4=dict(num_modules=1, num_branches=4, block='BASIC', num_blocks=(1, 1, 1, 1), num_channels=(4, 8, 16, 32)),
)
TWINS = dict(
    embed_dims=[8, 16, 16, 16], depths=[1, 2, 2, 1], num_heads=[1, 2, 2, 2], patch_sizes=[4, 2, 2, 2],
    strides=[4, 2, 2, 2], mlp_ratios=[2, 2, 2, 2], sr_ratios=[8, 4, 2, 1], window_sizes=[7, 7, 7, 7],
)  # fmt: skip
REPVGG = dict(num_blocks=[1, 2, 2, 1], width_factor=[0.125, 0.125, 0.125, 0.25], group_layer_map=None, se_cfg=None)
HORNET = dict(base_dim=8, depths=[1, 1, 2, 1], orders=[2, 3, 4, 5], dw_cfg=[dict(type='DW', kernel_size=7)] * 4)

# fmt: off
BACKBONES = {
    'ResNet': (dict(type='ResNet', depth=50, stem_channels=8, base_channels=8), 64, GAP, 256),
    'ResNet_CIFAR': (dict(type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8), 32, GAP, 64),
    'ResNetV1d': (dict(type='ResNetV1d', depth=50, stem_channels=8, base_channels=8), 64, GAP, 256),
    'ResNeXt': (dict(type='ResNeXt', depth=50, base_channels=32), 64, GAP, 1024),
    'SEResNet': (dict(type='SEResNet', depth=50), 64, GAP, 2048),
    'Res2Net': (dict(type='Res2Net', depth=50), 64, GAP, 2048),
    'ResNeSt': (dict(type='ResNeSt', depth=50), 64, GAP, 2048),
    'RegNet': (dict(type='RegNet', arch='regnetx_400mf'), 64, GAP, 384),
    'VGG': (dict(type='VGG', depth=11), 64, GAP, 512),
    'VGG_BN': (dict(type='VGG', depth=11, norm_cfg=dict(type='BN')), 32, GAP, 512),
    'VGG_classifier': (dict(type='VGG', depth=11, num_classes=10), 224, None, None),
    'AlexNet': (dict(type='AlexNet', num_classes=10), 224, None, None),
    'DenseNet': (dict(type='DenseNet', arch=dict(growth_rate=8, depths=[2, 2, 3, 2], init_channels=16)), 64, GAP, 36),
    'MobileNetV2': (dict(type='MobileNetV2', widen_factor=0.25), 64, GAP, 1280),
    'MobileNetV3': (dict(type='MobileNetV3', arch='small'), 64, GAP, 576),
    'MobileOne': (dict(type='MobileOne', arch='s0'), 64, GAP, 1024),
    'ShuffleNetV1': (dict(type='ShuffleNetV1'), 64, GAP, 960),
    'ShuffleNetV2': (dict(type='ShuffleNetV2', widen_factor=0.5), 64, GAP, 1024),
    'EfficientNet': (dict(type='EfficientNet', arch='b0'), 64, GAP, 1280),
    'EfficientNetV2': (dict(type='EfficientNetV2', arch='b0'), 64, GAP, 1280),
    'RepVGG': (dict(type='RepVGG', arch=REPVGG), 64, GAP, 128),
    'HRNet': (dict(type='HRNet', arch='w18', extra=HRNET), 64,
              [dict(type='HRFuseScales', in_channels=(4, 8, 16, 32)), GAP], 2048),
    'InceptionV3': (dict(type='InceptionV3', num_classes=10), 160, None, None),
    'ConvNeXt': (dict(type='ConvNeXt', arch=dict(depths=[1, 1, 2, 1], channels=[8, 16, 24, 32])), 64, None, 32),
    'ConvMixer': (dict(type='ConvMixer', arch=dict(embed_dims=16, depth=8, patch_size=7, kernel_size=3)), 56, GAP, 16),
    'CSPDarkNet': (dict(type='CSPDarkNet', depth=53), 64, GAP, 1024),
    'CSPResNet': (dict(type='CSPResNet', depth=50), 64, GAP, 1024),
    'CSPResNeXt': (dict(type='CSPResNeXt', depth=50), 64, GAP, 2048),
    'RepLKNet': (dict(type='RepLKNet', arch=dict(
        large_kernel_sizes=[7, 7, 5, 5], layers=[1, 1, 2, 1], channels=[8, 16, 24, 32], small_kernel=3, dw_ratio=1)),
        64, GAP, 32),
    'RepMLPNet': (dict(type='RepMLPNet', img_size=64, arch=dict(
        channels=[8, 16, 16, 16], depths=[1, 1, 2, 1], sharesets_nums=[1, 2, 2, 2])), 64, GAP, 16),
    'PoolFormer': (dict(type='PoolFormer', arch=dict(
        layers=[1, 1, 2, 1], embed_dims=[8, 16, 24, 32], mlp_ratios=[2, 2, 2, 2],
        layer_scale_init_value=1e-5)), 64, GAP, 32),
    'EfficientFormer': (dict(type='EfficientFormer', arch=dict(
        layers=[1, 1, 2, 2], embed_dims=[8, 16, 24, 32], downsamples=[False, True, True, True], vit_num=1)),
        224, None, dict(type='EfficientFormerClsHead', in_channels=32, distillation=False)),
    'EdgeNeXt': (dict(type='EdgeNeXt', arch=dict(
        channels=[8, 16, 24, 32], depths=[1, 1, 2, 1], num_heads=[2, 2, 2, 2])), 64, None, 32),
    'VisionTransformer': (dict(type='VisionTransformer', arch=VIT, img_size=32, patch_size=8), 32, None, VIT_HEAD),
    'DistilledVisionTransformer': (
        dict(type='DistilledVisionTransformer', arch=VIT, img_size=32, patch_size=8), 32, None,
        dict(VIT_HEAD, type='DeiTClsHead')),
    'DeiT3': (dict(type='DeiT3', arch=VIT, img_size=32, patch_size=8), 32, None, VIT_HEAD),
    'BEiTViT': (dict(type='BEiTViT', arch=VIT, img_size=32, patch_size=8), 32, None, 24),
    'ViTEVA02': (dict(type='ViTEVA02', arch=VIT, img_size=32, patch_size=8), 32, None, 24),
    'RevVisionTransformer': (dict(
        type='RevVisionTransformer', arch=VIT, img_size=32, patch_size=8, no_custom_backward=True), 32, None, 48),
    'ViTSAM': (dict(type='ViTSAM', img_size=64, patch_size=8, out_channels=16, window_size=4, arch=dict(
        VIT, global_attn_indexes=[3, 7])), 64, GAP, 16),
    'MlpMixer': (dict(type='MlpMixer', img_size=32, patch_size=8, arch=dict(
        embed_dims=24, num_layers=8, tokens_mlp_dims=16, channels_mlp_dims=48)), 32, dict(GAP, dim=1), 24),
    'SwinTransformer': (dict(type='SwinTransformer', arch=SWIN, img_size=64, window_size=2), 64, GAP, 96),
    'SwinTransformerV2': (dict(type='SwinTransformerV2', img_size=64, window_size=2, arch=dict(
        SWIN, extra_norm_every_n_blocks=0)), 64, GAP, 96),
    'DaViT': (dict(type='DaViT', window_size=2, arch=dict(
        embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 2])), 64, GAP, 64),
    'PCPVT': (dict(type='PCPVT', arch={k: v for k, v in TWINS.items() if k != 'window_sizes'}), 64, GAP, 16),
    'SVT': (dict(type='SVT', arch=TWINS, norm_after_stage=[False, False, False, True]), 64, GAP, 16),
    'MobileViT': (dict(type='MobileViT', arch='xx_small'), 64, GAP, 320),
    'VAN': (dict(type='VAN', arch=dict(
        embed_dims=[8, 16, 16, 16], depths=[1, 1, 2, 1], ffn_ratios=[2, 2, 2, 2])), 64, GAP, 16),
    'HorNet': (dict(type='HorNet', arch=HORNET), 64, None, 64),
    'T2T_ViT': (dict(type='T2T_ViT', img_size=64, embed_dims=24, num_layers=8,
                     t2t_cfg=dict(token_dims=8), layer_cfgs=dict(num_heads=2, feedforward_channels=48)),
                64, None, VIT_HEAD),
    'TNT': (dict(type='TNT', img_size=32, patch_size=8, arch=dict(
        embed_dims_outer=24, embed_dims_inner=8, num_layers=8, num_heads_outer=2, num_heads_inner=2)), 32, None, 24),
    'LeViT': (dict(type='LeViT', img_size=64, arch='128s'), 64, GAP,
              dict(type='LeViTClsHead', in_channels=384, distillation=False)),
    'TinyViT': (dict(type='TinyViT', img_size=(64, 64), window_size=[2, 2, 2, 2], arch=dict(
        channels=[8, 16, 24, 32], num_heads=[2, 2, 2, 2], depths=[1, 1, 2, 1])), 64, None, 32),
    'MViT': (dict(type='MViT', img_size=64, arch=dict(
        embed_dims=8, num_layers=6, num_heads=1, downscale_indices=[1, 3, 5])), 64, GAP, 64),
    'MixMIMTransformer': (dict(type='MixMIMTransformer', img_size=64, window_size=[2, 2, 2, 2], arch=dict(
        embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 2])), 64, None, 64),
    'XCiT': (dict(type='XCiT', img_size=64, embed_dims=32, depth=8, num_heads=2), 64, None, 32),
    'Conformer': (dict(type='Conformer', arch=dict(embed_dims=24, channel_ratio=1, num_heads=2, depths=12),
                       base_channels=16), 64, None, dict(type='ConformerHead', in_channels=[64, 24])),
    'Vig': (dict(type='Vig', arch='tiny'), 224, GAP, 192),
    'PyramidVig': (dict(type='PyramidVig', arch='tiny', k=4), 224, GAP, 384),
    'RIFormer': (dict(type='RIFormer', arch=dict(
        layers=[1, 1, 2, 1], embed_dims=[8, 16, 24, 32], mlp_ratios=[2, 2, 2, 2],
        layer_scale_init_value=1e-5)), 64, GAP, 32),
}
# fmt: on


def build(name: str, **backbone) -> tuple[nn.Module, int]:
    """A classifier of a family, and the size of its images."""
    model, side = config_of(name, **backbone)
    return MODELS.build(model), side


def config_of(name: str, **backbone) -> tuple[dict, int]:
    """The config of a classifier."""
    config, side, neck, head = BACKBONES[name]
    if not isinstance(head, dict):
        head = dict(type='ClsHead') if head is None else dict(type='LinearClsHead', in_channels=head)
    if head['type'] != 'ClsHead':
        head = dict(head, num_classes=10)
    return dict(type='ImageClassifier', backbone=dict(config, **backbone), neck=neck, head=head), side
