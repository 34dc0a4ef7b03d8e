static const $c_type$ $name$_params = {
    /* $fields$ */
};
static const nk_bench_case $name$ = {
    .kind = $kind$,
    .params = &$name$_params,
    .input_dims = $input_dims$,
    .output_dims = $output_dims$,
    .input = $input$,
    .input2 = $input2$,
};
