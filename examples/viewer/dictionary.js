// What the index of a Taut file leaves out (docs/format.md, "The dictionary").
"use strict";
globalThis.Viewer ??= {};

Viewer.dictionary = [
    "embeddings.word_embeddings.encoder.layer.0.attention.self.query.weight.key.weight.value.weight.outpu",
    "t.dense.weight.LayerNorm.intermediate.dense.biastransformer.h.0.attn.c_attn.weight.c_proj.mlp.c_fc.l",
    "n_1.weight.ln_f.wte.weight.lm_headmodel.layers.0.self_attn.q_proj.weight.k_proj.v_proj.o_proj.mlp.ga",
    "te_proj.up_proj.down_proj.weight.input_layernorm.post_attention_layernorm.norm.weight.embed_tokensbl",
    "ocks.0.block.features.0.0.classifier.head.backbone.stem.module.decodercodebook16+ternary+binary+int8",
    "+int4:g64+2:4+fp8+fp16+50%+90%+channels:50%+\"downsample.0.weight\",[shortcut.0.weight\"layer4.2.layer3",
    ".1.conv3.weight\"layer2.1.bn2.weight\"layer1.2.conv1.weight\",[256,128,1,1],[512],[256],[1024],[768,768",
    "],[384,384],[2048,120,84,\"modules\":{\"conv1\":{\"out_channels\":16,\"in_channels\":,\"num_features\":,\"out_f",
    "eatures\":,\"in_features\":},\"of\":\"\",\"tied\":true,\"pack\":0,\"lengths\":[20,\"name\":\"taut.pack\",\"checksum\":\"",
    "\"solids\":[{\"name\":\"taut.solid.I64\",\"dtype\":\"I64\",\"pack\":0,\"lengths\":[17]},{\"name\":\"taut.solid.F16\",\"",
    "dtype\":\"F16\",\"pack\":0,\"lengths\":[38,\"kinds\":[{\"dtype\":\"I64\",\"scheme\":\"lossless\",\"store\":\"solid\",\"sol",
    "id\":0},{\"dtype\":\"F32\",\"scheme\":\"fp16\",\"store\":\"solid\",\"as\":\"F16\",\"solid\":1},{\"dtype\":\"BF16\",\"scheme\"",
    ":\"keep\",\"store\":\"kept\"},]],[0,\"layer1.0.bn1.bias\",[16],[20,],[0,\"layer1.0.bn1.running_mean\",[32],[2]",
    ",[0,\"layer1.0.bn1.running_var\",[64],[2],[1,\"layer1.0.bn1.num_batches_tracked\",[]],[0,\"linear.bias\",[",
    "10],],[0,\"linear.weight\",[10,64],[0,\"layer3.0.conv2.weight\",[64,64,3,3],[0,\"layer2.0.conv2.weight\",[",
    "32,32,3,3],[0,\"layer1.0.conv1.weight\",[16,16,3,3],[2],[0,\"fc3.bias\",[10],[0,\"fc2.weight\",[10,100],[0",
    ",\"fc1.weight\",[300,784],[0,\"fc2.bias\",[],[0,\"fc1.bias\",[100],[2],[0,\"conv2.weight\",[64,32,3,3],[2],[",
    "0,\"conv2.bias\",[50],[2],[0,\"conv1.weight\",[20,1,5,5],[25,180],{\"source\":{\"bytes\":1,\"metadata\":{\"form",
    "at\":\"pt\"},\"files\":[{\"name\":\"model.safetensors\"}]},\"packs\":[{\"sum\":\"0\"}],\"kinds\":[{\"dtype\":\"F32\",\"sch",
    "eme\":\"rd:2\",\"store\":\"packed\",\"pack\":0}],\"tensors\":[[0,\"conv1.bias\",[20],[2"
].join("");
